"""`sea replay`: a shell script that makes the same bytes again, whatever stands in the manifests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
BODY: dict[str, Any] = {"schema": 2, "command": "mix", "argv": ["mix"], "inputs": [], "outputs": []}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def run_script(script: bytes, folder: Path) -> subprocess.CompletedProcess[bytes]:
    program = folder.parent / "bin" / "sea"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m seatools "$@"\n')
    program.chmod(0o755)
    kept = {key: value for key, value in os.environ.items() if not key.startswith("SEA_")}
    environment = kept | {"PATH": f"{program.parent}:{os.environ['PATH']}", "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(["sh"], input=script, cwd=folder, env=environment, capture_output=True, check=False)


def test_the_script_makes_the_same_bytes_elsewhere(here: Path, sea: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parents first, each command once, with what the environment and sea.toml had said typed out."""
    name = "it's; $(touch pwned)\n.txt"
    Path(name).write_text("one\ntwo\ntwo\n" + "three \u200b four\n" * 3)
    Path("sea.toml").write_text("[clean]\ndedup = ['exact']\n")
    monkeypatch.setenv("SEA_CLEAN_ZERO_WIDTH", "strip")
    assert sea("clean", name, "-o", "a.jsonl", "--rejects", "bad.jsonl").code == 0
    Path("sea.toml").unlink()
    monkeypatch.delenv("SEA_CLEAN_ZERO_WIDTH")
    assert sea("mix", "x=a.jsonl:1", "--unit", "docs", "-o", "b.jsonl").code == 0
    done = sea("replay", "b.jsonl", "bad.jsonl")
    assert done.code == 0
    commands = [line for line in done.stdout.decode().splitlines() if line.startswith("sea ")]
    assert commands[0].startswith("sea clean --zero-width strip --dedup exact ") and len(commands) == 2
    assert b"# --dedup came from sea.toml" in done.stdout and f"# in the folder {here}".encode() in done.stdout
    elsewhere = here.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / name).write_bytes(Path(name).read_bytes())
    again = run_script(done.stdout, elsewhere)
    assert again.returncode == 0, again.stderr
    for output in ("a.jsonl", "b.jsonl", "bad.jsonl"):
        assert (elsewhere / output).read_bytes() == Path(output).read_bytes()
    assert not (elsewhere / "pwned").exists()
    assert run_script(done.stdout, elsewhere).returncode == 2  # it replaces nothing that is there


def test_a_pipe_is_told_and_read_again(here: Path, sea: Callable) -> None:
    assert sea("clean", "-o", "a.jsonl", stdin=b'{"text": "a"}\n').code == 0
    lines = sea("replay", "a.jsonl").stdout.decode().splitlines()
    assert lines[-1] == "sea clean -o a.jsonl"
    assert any(line.startswith("# reads stdin, which is not kept (sha256 ") for line in lines)
    assert sea("replay", "a.jsonl", "-q").stdout == b"#!/bin/sh\nset -e\nsea clean -o a.jsonl\n"


def test_commands_of_several_folders_change_into_each(here: Path, sea: Callable) -> None:
    Path("sub").mkdir()
    Path("raw.txt").write_text("a\n")
    assert sea("clean", "raw.txt", "-o", "a.jsonl").code == 0
    os.chdir("sub")
    assert sea("clean", "../a.jsonl", "-o", "b.jsonl").code == 0
    lines = sea("replay", "b.jsonl", "-q").stdout.decode().splitlines()
    assert lines[2:] == [
        f"cd {here}", "sea clean raw.txt -o a.jsonl", f"cd {here}/sub", "sea clean ../a.jsonl -o b.jsonl",
    ]  # fmt: skip


def test_nothing_in_a_manifest_can_end_a_comment_or_a_word(here: Path) -> None:
    """Every string of the manifest tries to run a command of its own; only `sea` is one."""
    evil = "x\ntouch pwned\n$(touch pwned)`touch pwned`';touch pwned #"
    body = BODY | {
        "tool": evil,
        "argv": ["--version", evil],
        "command": "mix",
        "inputs": [{"path": evil, "sha256": evil}, {"path": "-", "sha256": evil}],
        "settings": [{"option": evil, "source": evil, "words": []}],
        "run": {"folder": evil},
    }
    Path("x.manifest.json").write_text(json.dumps(body))
    from seatools.replay.script import script

    made = script(["x"])
    done = run_script(made, here)
    assert done.returncode == 0 and done.stdout.startswith(b"sea ") and not Path("pwned").exists()
