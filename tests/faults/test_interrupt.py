"""Ctrl-C, once and twice, in the middle of a run: exit code 130, one word, nothing half-written, no process left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = """
import sys
from seatools.text.cleaning import check_pool
check_pool.POOL_FROM_BYTES = 1  # not only after 8 MiB
from seatools.cli import run
run()
"""
SLOW_END = """
import contextlib, os, sys, time, types
from seatools import cli
def main(argv):
    with open("begun", "w"):
        pass
    try:
        time.sleep(30)
    finally:
        time.sleep(float(argv[0]))
        os.unlink("begun")
sys.modules["slow"] = types.SimpleNamespace(main=main)
cli.COMMANDS["slow"] = ("slow", "for tests")
cli.run()
"""


def start(script: str, *argv: str) -> subprocess.Popen[str]:
    """A group of its own, as a terminal makes one; what is started in the background inherits SIGINT as ignored."""
    return subprocess.Popen(
        [sys.executable, "-c", script, *argv], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        start_new_session=True, env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def workers(group: int) -> list[str]:
    """The command lines of spawned processes of the group."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and int(folder.name) != group:
            try:
                if os.getpgid(int(folder.name)) == group:
                    found.append((folder / "cmdline").read_text())
            except OSError:  # ended meanwhile
                continue
    return [words for words in found if "spawn_main" in words]


@pytest.fixture
def texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    line = '{"text":"' + "ข่าววันนี้ของกรุงเทพมหานคร " * 20 + '"}\n'
    path = tmp_path / "th.jsonl"
    path.write_text(line * 20_000, encoding="utf-8")
    return path


@pytest.mark.parametrize(("after", "times"), [(0.05, 1), (0.2, 2), (0.6, 1)])
def test_workers_that_still_start_say_nothing(texts: Path, after: float, times: int) -> None:
    """Without a blocked signal each answers with the traceback of whatever it was importing."""
    process = start(SCRIPT, "clean", f"th={texts}", "--quality", "--workers", "2", "-o", "clean.jsonl")
    end = time.monotonic() + 20
    while not workers(process.pid):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.01)
    time.sleep(after)
    for _ in range(times):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.05)
    _, said = process.communicate(timeout=20)
    assert (process.returncode, said) == (130, "interrupted\n")
    assert os.listdir() == ["th.jsonl"]
    assert workers(process.pid) == []


def begun(seconds: float) -> subprocess.Popen[str]:
    """A command in its middle, whose end takes so long."""
    process = start(SLOW_END, "slow", str(seconds))
    end = time.monotonic() + 20
    while not Path("begun").exists():
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.01)
    time.sleep(0.1)
    return process


def test_a_double_one_does_not_stop_the_cleaning_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    process = begun(0.6)
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    _, said = process.communicate(timeout=20)
    assert (process.returncode, said, os.listdir()) == (130, "interrupted\n", [])


def test_a_second_one_is_immediate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    process = begun(60)
    process.send_signal(signal.SIGINT)
    time.sleep(0.8)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=10)
    assert (process.returncode, said) == (130, "interrupted\n")
