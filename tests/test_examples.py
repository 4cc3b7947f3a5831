"""Every example in the help of every command runs as it is printed."""

from __future__ import annotations

import glob
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import example_folder
import pytest

from seatools.help.definitions import definitions
from seatools.streams.flag_help import broken

pytestmark = pytest.mark.xdist_group("examples")  # their folder is made once
TABLE = definitions()
EXAMPLES = [example for command in TABLE.values() for example in command.examples]
NEEDS = {"--segment": "pythainlp", "--lang-id cld2": "pycld2", "focus": "gensim", "--plot": "matplotlib"}
NOT_RUN = ("http://HOST", "--from-prompts-in")  # these need a server, and a model that can translate
CHECKS = (
    "--fail-over",
    "--fail-under",
    "--better-than-random",
    "--min-consistency",
)  # such an example may also find its answer to be no


@pytest.mark.parametrize("name", TABLE)
def test_two_examples_at_least(name: str) -> None:
    assert len(TABLE[name].examples) >= 2
    assert all(f"sea {name}" in example for example in TABLE[name].examples[:2])


@pytest.mark.parametrize("example", sorted(set(EXAMPLES)))
def test_the_breaks_of_a_narrow_terminal_change_no_word(example: str) -> None:
    for width in (50, 72, 100):
        printed = broken(example, width)
        assert subprocess.run(["bash", "-n", "-c", printed], capture_output=True).stderr == b""
        assert shlex.split(printed.replace("\\\n", ""), comments=True) == shlex.split(example, comments=True)


@pytest.fixture(scope="module")
def prepared(sea: Callable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with everything that the examples name."""
    folder = tmp_path_factory.mktemp("examples")
    before = os.getcwd()
    os.chdir(folder)
    try:
        example_folder.write_inputs(folder)
        example_folder.write_made(sea, folder)
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def scratch(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, in which this test runs; `sea` is on the PATH for what is no command of ours."""
    folder = tmp_path / "work"
    shutil.copytree(prepared, folder)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sea").write_text(f'#!/bin/sh\nexec {sys.executable} -m seatools "$@"\n')
    (tmp_path / "bin" / "sea").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(example_folder.REPOSITORY))
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("name", TABLE)
def test_the_examples_run_as_printed(sea: Callable, scratch: Path, prepared: Path, name: str) -> None:
    for example in TABLE[name].examples:
        if name.startswith("lsn-detect"):
            shutil.copytree("PLAIN", "MODEL", dirs_exist_ok=True)
        if any(part in example for part in NOT_RUN):
            continue
        for need, module in NEEDS.items():
            if need in example:
                pytest.importorskip(module)
        if " jq " in example and shutil.which("jq") is None:
            pytest.skip("no jq here")
        for path in outputs(example):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            Path(f"{path}.manifest.json").unlink(missing_ok=True)
        code, said = run(sea, example)
        assert code == 0 or (code == 3 and any(check in example for check in CHECKS)), f"{example}\n{said}"
        shutil.rmtree(scratch)
        shutil.copytree(prepared, scratch)
        os.chdir(scratch)


def outputs(example: str) -> list[Path]:
    """What the example writes: it may be there already, made for another one."""
    words = shlex.split(example, comments=True)
    flags = ("-o", "--output", "--save-patch", "--plot")
    return [Path(after) for word, after in zip(words, words[1:], strict=False) if word in flags and after != "-"]


def run(sea: Callable, example: str) -> tuple[int, str]:
    """(exit code, messages) of a line of shell: pipes, redirections and && are done here, and commands of ours run in
    this process, which need not load torch for each; everything else is run as it is."""
    lexer = shlex.shlex(example, posix=True, punctuation_chars="|<>&")
    lexer.commenters, lexer.whitespace_split = "#", True
    words, said = [name for word in lexer for name in _names(word, example)], ""
    for line in _split(words, "&&"):
        data = b""
        for stage in _split(line, "|"):
            argv, target = [], None
            while stage:
                word = stage.pop(0)
                if word == "<":
                    data = Path(stage.pop(0)).read_bytes()
                elif word == ">":
                    target = stage.pop(0)
                else:
                    argv.append(word)
            variables = dict(argv.pop(0).split("=", 1) for _ in range(len(argv)) if re.match(r"[A-Z_]+=", argv[0]))
            if argv[0] == "sea":
                with pytest.MonkeyPatch.context() as patch:
                    for variable, value in variables.items():
                        patch.setenv(variable, value)
                    done = sea(*argv[1:], stdin=data)
                code, data, said = done.code, done.stdout, said + done.stderr
            else:
                other = subprocess.run(argv, input=data, capture_output=True)
                code, data, said = other.returncode, other.stdout, said + other.stderr.decode()
            if target is not None:
                Path(target).write_bytes(data)
            if code:
                return code, said
    return 0, said


def _names(word: str, example: str) -> list[str]:
    """A pattern that is not in quotes becomes the names that it matches, as in a shell."""
    found = sorted(glob.glob(word)) if "*" in word and f"'{word}'" not in example else []
    return found or [word]


def _split(words: list[str], mark: str) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for word in words:
        parts[-1].append(word) if word != mark else parts.append([])
    return parts
