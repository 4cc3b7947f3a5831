"""`sea train` in a process of its own under SIGTERM and SIGUSR1: exit code 75, and a resumed run with the same bits."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_llama import read_metrics

SIX = ("--seq-len", 32, "--batch-size", 2, "--max-steps", 6, "--lr", "1e-3", "-q")
# The signal comes in the fourth step's forward pass, or in the first evaluation (a hook of the loop).
SENDS_ITSELF = """
import os, signal, sys
import torch
torch.set_num_threads(1)
import seatools.train.run as run
from seatools.cli import main

number, place = getattr(signal, sys.argv[1]), sys.argv[2]
def evaluate(step, stop):
    if place == "evaluation" and step == 3:
        os.kill(os.getpid(), number)
    return None if stop() else {"step": step, "th": {"bits_per_byte": 1.0}}

real_steps = run.run_steps
def run_steps(model, optimizer, gradients, options, **more):
    def sending(step):
        row = gradients(step)
        if place == "step" and step == 4:
            os.kill(os.getpid(), number)
        return row
    if place == "evaluation":
        import dataclasses
        options = dataclasses.replace(options, eval_every=3)
        more["evaluate"] = evaluate
    return real_steps(model, optimizer, sending, options, **more)
run.run_steps = run_steps
sys.exit(main(sys.argv[3:]))
"""


@pytest.mark.parametrize(("name", "place", "after"), [("SIGTERM", "step", 4), ("SIGUSR1", "evaluation", 3)])
def test_a_signal_saves_and_exits_75(
    sea: Callable[..., Any], model_path: Path, data: Path, tmp_path: Path, name: str, place: str, after: int
) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert sea("train", model_path, data, "-o", whole, *SIX).code == 0
    command = [str(word) for word in ("train", model_path, data, "-o", stopped, *SIX)]
    done = subprocess.run([sys.executable, "-c", SENDS_ITSELF, name, place, *command], capture_output=True, text=True)
    assert done.returncode == 75, done.stderr
    assert f"stopped by {name} after step {after}" in done.stderr and "--resume" in done.stderr
    assert not (stopped / "config.json").exists()
    assert sea(*command, "--resume").code == 0
    trained = [line for line in read_metrics(stopped) if line.get("kind") != "eval"]
    assert trained == [line for line in read_metrics(whole) if line.get("kind") != "eval"]
    for file in ("model.safetensors", "checkpoints/step-6/optimizer.safetensors"):
        assert (whole / file).read_bytes() == (stopped / file).read_bytes()
