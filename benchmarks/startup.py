"""How long the small things take: `sea --help`, `sea CMD --help`, beside bare `python -c pass`.

    python benchmarks/startup.py [--runs 20]

Runs alternate, the best of each is taken; what counts is the ratio.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from record import record

CASES = {
    "python -c pass": ["-c", "pass"],
    "sea --help": ["-m", "seatools", "--help"],
    "sea audit --help": ["-m", "seatools", "audit", "--help"],
    "sea mix --help": ["-m", "seatools", "mix", "--help"],
    "sea train --help": ["-m", "seatools", "train", "--help"],
    "import typer (a peer's least)": ["-c", "import typer"],
    "import transformers.AutoTokenizer (what a peer's --help pays)": ["-c", "from transformers import AutoTokenizer"],
}


def main() -> None:
    """Measure, print, record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=20)
    runs = parser.parse_args().runs
    best = dict.fromkeys(CASES, float("inf"))
    for number in range(runs):
        for name, arguments in CASES.items():
            if "transformers" in name and number >= 3:
                continue
            began = time.perf_counter()
            subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
            best[name] = min(best[name], time.perf_counter() - began)
    bare = best["python -c pass"]
    for name, seconds in best.items():
        print(f"{name:<62} {1000 * seconds:8.1f} ms {seconds / bare:7.1f} x")
    record("startup", {"seconds": best, "ratio_to_bare_python": {name: s / bare for name, s in best.items()}})


if __name__ == "__main__":
    main()
