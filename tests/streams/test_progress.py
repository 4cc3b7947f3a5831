"""Progress: stderr only; a bar on a terminal, plain lines elsewhere, nothing in a short run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from seatools.streams.messages import Messages
from seatools.streams.progress import Progress

REPOSITORY = str(Path(__file__).resolve().parents[2])


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def test_a_short_run_writes_nothing(clock: list[float], capfd: pytest.CaptureFixture[str]) -> None:
    with Progress("counting", total=100) as progress:
        for _ in range(100):
            clock[0] += 0.29
            progress.advance()
    assert capfd.readouterr() == ("", "")


def test_a_long_run_writes_a_plain_line_every_thirty_seconds(
    clock: list[float], capfd: pytest.CaptureFixture[str]
) -> None:
    with Progress("counting", total=20_000, unit="docs") as progress:
        for _ in range(7):
            clock[0] += 10
            progress.advance(2000, note="th")
    out, err = capfd.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "counting: 6000/20k docs, 200/s, 70 s left th",
        "counting: 12k/20k docs, 200/s, 40 s left th",
    ]


def test_without_a_total_and_beyond_it(clock: list[float], capfd: pytest.CaptureFixture[str]) -> None:
    for total in (None, 1):
        with Progress("reading", total=total) as progress:
            clock[0] += 60
            progress.advance(3)
    assert capfd.readouterr().err == "reading: 3 docs, 0.05/s\nreading: 3/1 docs, 0.05/s, 0 s left\n"


def test_quiet_is_quiet(clock: list[float], capfd: pytest.CaptureFixture[str]) -> None:
    with Progress("counting", quiet=True) as progress:
        clock[0] += 1000
        progress.advance()
    assert capfd.readouterr() == ("", "")


def on_a_terminal(program: str, **environment: str) -> tuple[bytes, bytes]:
    """Run a program with a terminal as stderr: (stdout, what the terminal got)."""
    controller, terminal = os.openpty()
    environment = {"PYTHONPATH": REPOSITORY, "PATH": os.environ["PATH"], "TERM": "xterm-256color"} | environment
    process = subprocess.Popen([sys.executable, "-c", program], stdout=-1, stderr=terminal, env=environment)
    os.close(terminal)
    seen = b""
    try:
        while chunk := os.read(controller, 1 << 16):
            seen += chunk
    except OSError:  # Linux: EIO when the last writer is gone
        pass
    os.close(controller)
    out = process.communicate()[0]
    assert process.returncode == 0
    return out, seen


BAR = """
import sys, time
from seatools.streams.progress import Progress
now = [0.0]
time.monotonic = lambda: now[0]
with Progress("counting", total=100) as progress:
    for _ in range(STEPS):
        now[0] += 0.3
        progress.advance(10)
sys.stdout.write("rich" if "rich" in sys.modules else "none")
"""


def test_a_terminal_gets_a_bar_in_a_long_run_and_stdout_nothing() -> None:
    out, seen = on_a_terminal(BAR.replace("STEPS", "6"))
    assert (out, b"counting" in seen, b"\x1b[38;5;" in seen or b"\x1b[3" in seen) == (b"rich", True, True)


@pytest.mark.parametrize(("columns", "seen", "left_out"), [(50, "loss 11.6", "lr"), (140, "3963 tokens/s", "…")])
def test_counts_are_whole_on_a_narrow_terminal(columns: int, seen: str, left_out: str) -> None:
    """rich would cut label, counts and note alike: `co… 10/1… loss 11…`."""
    note = 'progress.advance(10, "loss 11.619, 16.534 bits/byte, lr 9.55e-04, 3963 tokens/s")'
    program = BAR.replace("STEPS", "6").replace("progress.advance(10)", note)
    said = on_a_terminal(program, COLUMNS=str(columns), NO_COLOR="1")[1].decode()
    assert "counting" in said and "60/100 docs" in said and seen in said
    assert "…" not in said and left_out not in said


def test_no_color_is_heeded() -> None:
    _, seen = on_a_terminal(BAR.replace("STEPS", "6"), NO_COLOR="1")
    assert b"counting" in seen
    assert b"\x1b[38;5;" not in seen and b"\x1b[3" not in seen


def test_a_terminal_gets_nothing_in_a_short_run_and_rich_is_not_imported() -> None:
    assert on_a_terminal(BAR.replace("STEPS", "3")) == (b"none", b"")


def test_messages_go_to_stderr_by_loudness(capfd: pytest.CaptureFixture[str]) -> None:
    for messages in (Messages(), Messages(quiet=True), Messages(verbose=1)):
        messages.info("info")
        messages.warn("careful")
        messages.debug("detail")
    out, err = capfd.readouterr()
    assert out == ""
    assert err.split("\n")[:-1] == [
        "info",
        "warning: careful",
        "warning: careful",
        "info",
        "warning: careful",
        "detail",
    ]


def test_counting_passes_the_items_on_and_counts_those_that_were_used() -> None:
    progress = Progress("counting", quiet=True)
    items = progress.counting("abc")
    assert (next(items), progress.done) == ("a", 0)
    assert (list(items), progress.done) == (["b", "c"], 3)
