"""Kill `sea eval` at random points, begin it again, and hold its results against those of an unbroken run.

    python tests/eval/kill_runs.py KILLS SEED FOLDER ARGV...      (without -o)

Each run is a fork of this process, which has imported everything, so that the kills fall into the work. Units are made
small, so that there are many points between them.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path


def child(argv: list[str]) -> int:
    """Start `sea ARGV` in a process of its own; returns its number."""
    number = os.fork()
    if number == 0:
        code = 1
        try:
            from seatools.cli import main

            code = main(argv)
        finally:
            os._exit(code)
    return number


def ends(number: int, seconds: float) -> bool:
    """Wait so long for a process; True if it has ended, well."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        found, status = os.waitpid(number, os.WNOHANG)
        if found:
            if status:
                raise SystemExit(f"a run failed with status {status}")
            return True
        time.sleep(0.002)
    return False


def clean(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder / "scores.jsonl"


def main(kills: int, seed: int, folder: Path, argv: list[str]) -> None:
    import torch

    import seatools.engine.generator
    import seatools.engine.prefix_scores
    from seatools.engine import prompts
    from seatools.eval import command, run, units

    assert seatools.engine.generator and seatools.engine.prefix_scores and command and run
    torch.set_num_threads(1)
    units.UNIT_TOKENS, prompts.GROUP = 256, 2
    whole = clean(folder / "whole")
    started = time.monotonic()
    if not ends(child([*argv, "-o", str(whole), "-q"]), 3600):
        raise SystemExit("the unbroken run does not end")
    seconds = time.monotonic() - started
    chance, killed, compared, torn = random.Random(seed), 0, 0, 0
    out = clean(folder / "broken")
    samples = Path(f"{out}.samples.jsonl")
    while True:
        number = child([*argv, "-o", str(out), "-q"])
        if not ends(number, chance.uniform(0, 1.1 * seconds) if killed < kills else 3600):
            os.kill(number, signal.SIGKILL)
            os.waitpid(number, 0)
            killed += 1
            torn += samples.exists() and samples.stat().st_size > 0 and not samples.read_bytes().endswith(b"\n")
            assert not out.exists() or out.read_bytes() == whole.read_bytes()
            if not out.exists():
                continue
        if out.read_bytes() != whole.read_bytes():
            raise SystemExit(f"other results after {killed} kills: compare {out} and {whole}")
        ours, theirs = (Path(f"{path}.samples.jsonl").read_bytes().splitlines() for path in (out, whole))
        if sorted(ours) != sorted(theirs):
            raise SystemExit(f"other samples after {killed} kills: compare {samples}")
        compared += 1
        if killed >= kills:
            break
        out = clean(folder / "broken")
    print(
        f"{killed} kills, {compared} equal results, {torn} torn lines, {len(theirs)} samples, {seconds:.1f} s unbroken"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
