"""The committed completions are what the commands' flags say, and complete in the real shells."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from seatools.help.topic import topics

FOLDER = Path(__file__).resolve().parent.parent / "completions"


def test_committed_files_are_current() -> None:
    wanted = FOLDER.parent / "completions" / "generate.py"
    script = f"import runpy, json; print(json.dumps(runpy.run_path({str(wanted)!r})['generated']()))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    import json

    for name, text in json.loads(done.stdout).items():
        assert (FOLDER / name).read_text(encoding="utf-8") == text, f"run `make completions` ({name})"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder but for two files, one with a space in its name."""
    (tmp_path / "two words.txt").touch()
    (tmp_path / "thai.jsonl").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))  # no one's configuration, and fish writes into it
    return tmp_path


def needs(shell: str) -> str:
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"no {shell} here")
    return found


def bash(line: str) -> set[str]:
    """What bash offers for the last word of `line`."""
    words = re.findall(r"=|[^ =]+", line) + ([""] if line.endswith((" ", "=")) else [])
    if line.endswith("="):
        words.pop()
    quoted = " ".join(f"'{word}'" for word in words)
    script = f"""
        source {FOLDER / "sea.bash"}
        COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}
        _sea; printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run([needs("bash"), "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return set(done.stdout.splitlines())


def fish(line: str) -> set[str]:
    """What fish offers, by `complete -C`."""
    script = f"source {FOLDER / 'sea.fish'}; complete -C '{line}'"
    done = subprocess.run([needs("fish"), "-N", "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return {entry.partition("\t")[0].rpartition("=")[2] for entry in done.stdout.splitlines()}


CASES: list[tuple[str, set[str]]] = [
    ("sea vo", {"vocab-extend"}),
    ("sea train --save-m", {"--save-minutes"}),
    ("sea mix --on-error sk", {"skip"}),
    ("sea mix --on-error=sk", {"skip"}),
    ("sea lsn-detect sh", {"show"}),
    ("sea lsn-detect select --perc", {"--percentile"}),
    ("sea train apply-patch --on-overlap su", {"sum"}),
    ("sea train apply-patch --lr", set()),
    ("sea clean th", {"thai.jsonl"}),
    ("sea clean two", {"two words.txt"}),
    ("sea train --save-patch th", {"thai.jsonl"}),
    ("sea train --max-steps ", set()),
    ("sea train --schedule co", {"cosine", "constant"}),
    ("sea dpo --loss apo_z", {"apo_zero"}),
    ("sea embed-init --method dist", {"distill"}),
    ("sea lsn-detect --parts att", {"attention"}),
    ("sea train --rate t", set()),  # tokens a second, no file
    ("sea sample --from-prompts-in vi", {"vi"}),
    ("sea clean --lang k", {"km", "ko"}),
    ("sea eval MODEL bele", {"belebele"}),
    ("sea eval MODEL th", {"thai.jsonl"}),
    ("sea eval tasks xq", {"xquad"}),
    ("sea help tok", {"tokenizers"}),
    ("sea help lsn", {"lsn-detect"}),
]


@pytest.mark.parametrize("complete", [bash, fish])
def test_completes(folder: Path, complete: Callable[[str], set[str]]) -> None:
    """Commands, parts, options, choices, languages, tasks, paths, topics; nothing where a number goes."""
    for line, wanted in CASES:
        assert complete(line) - {""} == wanted, line


@pytest.mark.parametrize("complete", [bash, fish])
def test_a_part_is_one_only_in_its_place(folder: Path, complete: Callable[[str], set[str]]) -> None:
    """`sea train apply-patch` has its own options; a file called so does not, and train keeps its own."""
    assert "--lr" in complete("sea train MODEL apply-patch --l")
    assert complete("sea help ") - {""} >= set(topics())


def zsh(lines: list[str]) -> list[str]:
    """What each line becomes in an interactive zsh when TAB is typed after it."""
    child, terminal = pty.fork()
    if child == 0:
        os.environ |= {"TERM": "dumb", "PS1": "", "COLUMNS": "200"}
        os.execv(needs("zsh"), ["zsh", "-f", "-i"])
    try:
        setup = [
            "unsetopt zle_bracketed_paste prompt_cr prompt_sp beep; PS1=",
            f"fpath=({FOLDER} $fpath); autoload -U compinit; compinit -D -u",
            "tell() { print -r -- \"<<$BUFFER>>\"; BUFFER=; }; zle -N tell; bindkey '^X' tell",
            "print rea''dy",
        ]
        os.write(terminal, ("\n".join(setup) + "\n").encode())
        _read_until(terminal, "ready")
        found = []
        for line in lines:
            os.write(terminal, f"{line}\t".encode())
            time.sleep(0.05)
            os.write(terminal, b"\x18")
            found.append(re.findall(r"<<(.*?)>>", _read_until(terminal, ">>"))[-1])
        return found
    finally:
        os.close(terminal)
        os.kill(child, 9)
        os.waitpid(child, 0)


def _read_until(terminal: int, mark: str) -> str:
    text = ""
    deadline = time.monotonic() + 20
    while mark not in text:
        assert time.monotonic() < deadline, f"zsh said {text!r}"
        if select.select([terminal], [], [], 0.5)[0]:
            text += os.read(terminal, 65536).decode("utf-8", "replace")
    return text


def test_completes_in_zsh(folder: Path) -> None:
    """The same lines, and what stands on the line afterwards; an ambiguous one stays as it is."""
    needs("zsh")
    cases = [*CASES[:9], *(case for case in CASES[9:] if case[0].split()[1] in ("dpo", "eval", "sample"))]  # it is slow
    whole = {line: line.rpartition("=" if "=sk" in line else " ")[0] for line, _ in cases}
    became = dict(zip(whole, zsh(list(whole)), strict=True))
    for line, wanted in cases:
        expected = line
        if len(wanted) == 1:
            word = next(iter(wanted)).replace(" ", "\\ ")
            expected = f"{whole[line]}{'=' if '=sk' in line else ' '}{word}"
        assert became[line].rstrip(" =") == expected.rstrip(), line  # zsh adds the = itself


@pytest.mark.parametrize(("shell", "name"), [("bash", "sea.bash"), ("zsh", "_sea"), ("fish", "sea.fish")])
def test_the_shells_parse_them(shell: str, name: str) -> None:
    assert subprocess.run([needs(shell), "-n", str(FOLDER / name)], check=False).returncode == 0
