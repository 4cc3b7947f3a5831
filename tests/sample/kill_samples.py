"""Kill `sea sample` at random points of its work, resume it, and hold its output against that of an unbroken run.

    python tests/sample/kill_samples.py KILLS SEED FOLDER ARGV...      (without -o)

As tests/eval/kill_runs.py: each run is a fork of this process, which has imported everything. A kill comes a random
moment after a further answer has reached the partial file.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "eval"))


def main(kills: int, seed: int, folder: Path, argv: list[str]) -> None:
    import torch
    from kill_runs import child, ends  # type: ignore[attr-defined]  # of tests/eval

    import seatools.engine.generate
    import seatools.engine.prefix_scores
    from seatools.engine import prompts
    from seatools.sample import command, run

    assert seatools.engine.generate and seatools.engine.prefix_scores and command and run
    torch.set_num_threads(1)
    prompts.GROUP = 4
    whole, out = folder / "whole" / "out.jsonl", folder / "broken" / "out.jsonl"
    whole.parent.mkdir(parents=True)
    out.parent.mkdir()
    if not ends(child([*argv, "-o", str(whole), "-q"]), 3600):
        raise SystemExit("the unbroken run does not end")
    partial = out.with_name("out.jsonl.partial")

    def kept() -> int:
        return len(partial.read_bytes().splitlines()) if partial.exists() else 0

    chance, killed = random.Random(seed), 0
    for _ in range(kills):
        number, before = child([*argv, "-o", str(out), "-q", "--resume"]), kept()
        while not (ended := ends(number, 0)) and kept() <= max(before, 1):
            time.sleep(0.001)
        if ended or ends(number, chance.uniform(0, 0.03)):
            break
        os.kill(number, signal.SIGKILL)
        os.waitpid(number, 0)
        killed += 1
        assert not out.exists() or out.read_bytes() == whole.read_bytes()
    if not ends(child([*argv, "-o", str(out), "-q", "--resume"]), 3600) or out.read_bytes() != whole.read_bytes():
        raise SystemExit(f"another output after {killed} kills: compare {out} and {whole}")
    left = sorted(path.name for path in out.parent.iterdir() if not path.name.startswith("."))
    if left != ["out.jsonl", "out.jsonl.manifest.json"]:
        raise SystemExit(f"debris: {left}")
    print(f"{killed} kills, equal to the byte")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
