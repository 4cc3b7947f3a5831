"""Stages: nothing in a short run, their name in a long one, and on a terminal nothing is left of it."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest

from seatools.streams import stage as module
from seatools.streams.stage import stage

REPOSITORY = str(Path(__file__).resolve().parents[2])
SCRIPT = "import time\nfrom seatools.streams.stage import stage\nwith stage('proving'):\n    time.sleep(1.3)\n"


def test_only_a_long_one_is_told_of(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    with stage("proving"):
        pass
    monkeypatch.setattr(module, "_ELSEWHERE", 0.01)
    with stage("proving", quiet=True):
        time.sleep(0.1)
    assert capfd.readouterr() == ("", "")
    with pytest.raises(ValueError), stage("proving"):
        time.sleep(0.1)
        raise ValueError
    assert capfd.readouterr() == ("", "proving ...\n")


def test_a_terminal_is_left_as_it_was() -> None:
    here, there = pty.openpty()
    environment = os.environ | {"PYTHONPATH": REPOSITORY, "TERM": "xterm"}
    assert subprocess.run([sys.executable, "-c", SCRIPT], stderr=there, env=environment).returncode == 0
    assert os.read(here, 1000) == b"proving ...\r\x1b[K"
