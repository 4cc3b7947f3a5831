"""The committed completions are what the commands' flags say, and the shells accept them."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "completions"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_completions", FOLDER / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_committed_files_are_current(generator: ModuleType) -> None:
    for name, text in generator.generated().items():
        assert (FOLDER / name).read_text(encoding="utf-8") == text, f"run `make completions` ({name})"


def complete(line: str) -> list[str]:
    """What bash offers for the last word of `line`."""
    words = line.split(" ")
    quoted = " ".join(f"'{word}'" for word in words)
    script = f"""
        source {FOLDER / "sea.bash"}
        COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}
        _sea; printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_bash_completes_commands_flags_and_values() -> None:
    if shutil.which("bash") is None:
        pytest.skip("no bash here")
    assert complete("sea vo") == ["vocab-extend"]
    assert "--max-epochs" in complete("sea mix --max")
    assert complete("sea mix --on-error sk") == ["skip"]


@pytest.mark.parametrize(("shell", "name"), [("zsh", "_sea"), ("fish", "sea.fish")])
def test_other_shells_parse_them(shell: str, name: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    assert subprocess.run([shell, "-n", str(FOLDER / name)], check=False).returncode == 0
