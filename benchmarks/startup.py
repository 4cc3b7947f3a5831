"""How long the small things take: `sea --help`, the help of every command and part of one, `sea train --dry-run`.

    python benchmarks/startup.py [--runs 20]

Runs alternate, the best of each is taken; what counts is the ratio to bare `python -c pass`, of wall time in quiet, of
processor time on a busy machine. Bytecode is kept as an installation keeps it, in a folder of this run's own. Exit code
1 if a limit is passed: `sea --help` 3 times bare Python, `sea CMD --help` 12 times, `sea train --dry-run` 1.5 s.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from record import record

from seatools.help.definitions import definitions

BARE = "python -c pass"
PEERS = {
    "import typer (a peer's least)": ["-c", "import typer"],
    "import transformers.AutoTokenizer (what a peer's --help pays)": ["-c", "from transformers import AutoTokenizer"],
}
HELP, COMMAND_HELP, DRY_RUN = 3.0, 12.0, 1.5
DRY_RUN_NAME = "sea train --dry-run"


def cases(folder: Path) -> dict[str, list[str]]:
    """Name -> arguments of Python. The dry run reads the weights' headers, not the weights."""
    shared = Path(os.environ.get("SEA_SHARED") or Path(__file__).resolve().parents[2] / "shared")
    model = shared / "models/stories260K"
    if not model.is_dir():  # the quickstart's small model, which has no weights yet
        model = Path(__file__).resolve().parents[1] / "examples/quickstart/base"
    (folder / "en.txt").write_text("One line of English text, for a plan.\n" * 200)
    dry = ["train", str(model), str(folder / "en.txt"), "-o", str(folder / "out"), "--dry-run"]
    if not list(model.glob("*.safetensors")):
        dry.append("--from-config")
    found = {BARE: ["-c", "pass"], "sea --help": ["-m", "seatools", "--help"]}
    found |= {f"sea {name} --help": ["-m", "seatools", *name.split(), "--help"] for name in definitions()}
    return found | {DRY_RUN_NAME: ["-m", "seatools", *dry]} | PEERS


def measure(arguments: list[str], environment: Mapping[str, str]) -> tuple[float, float]:
    """(wall, processor) seconds of one run."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                   env=dict(environment), check=True)  # fmt: skip
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def limit_of(name: str) -> float | None:
    """The ratio to bare Python that a help may have."""
    if name == "sea --help":
        return HELP
    return COMMAND_HELP if name.endswith(" --help") and name not in PEERS else None


def main() -> int:
    """Measure, print, record; the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=20)
    runs = parser.parse_args().runs
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("SEA_", "PYTHONDONT"))}
    with tempfile.TemporaryDirectory() as folder:
        environment = kept | {"PYTHONPYCACHEPREFIX": f"{folder}/bytecode"}
        table = cases(Path(folder))
        for arguments in table.values():
            measure(arguments, environment)
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in table}
        for number in range(runs):
            for name, arguments in table.items():
                if name not in PEERS or number < 3:
                    taken[name].append(measure(arguments, environment))
    wall = {name: min(pair[0] for pair in pairs) for name, pairs in taken.items()}
    cpu = {name: min(pair[1] for pair in pairs) for name, pairs in taken.items()}
    over = []
    for name in table:
        ratio, allowed = wall[name] / wall[BARE], limit_of(name)
        passed = ratio > allowed if allowed is not None else name == DRY_RUN_NAME and wall[name] > DRY_RUN
        over += [name] * passed
        print(f"{name:<62} {1000 * wall[name]:8.1f} ms {ratio:6.1f} x   cpu {1000 * cpu[name]:8.1f} ms "
              f"{cpu[name] / cpu[BARE]:6.1f} x{'  TOO SLOW' if passed else ''}")  # fmt: skip
    result = {
        "seconds": wall, "cpu_seconds": cpu, "over": over,
        "ratio_to_bare_python": {name: wall[name] / wall[BARE] for name in table},
        "cpu_ratio_to_bare_python": {name: cpu[name] / cpu[BARE] for name in table},
    }  # fmt: skip
    print(json.dumps({"over": over, "ratio": {name: round(wall[name] / wall[BARE], 2) for name in table}}))
    record("startup", result)
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
