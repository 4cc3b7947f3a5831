"""Coverage-guided fuzzing of one reader: `python tests/fuzz/run.py READER --minutes 10` (needs `pip install atheris`).

libFuzzer chooses inputs by the lines and comparisons of ours that they reach; half of its changes are those of
`mutations.py`. Minutes are of processor time. A finding is written to OUT/findings/READER, once per place, and the run
goes on; where the process dies (a crash in C++, no memory for Rust) it is started again. What was found on the way to
new code is kept in OUT/corpus/READER; `--keep` puts the part of it that adds lines of ours into tests/fuzz/corpus.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2])]
os.environ.setdefault("OMP_NUM_THREADS", "1")
INSTRUMENTED = ["seatools", "tomllib"]
LONGEST = 32 << 10


def main() -> None:
    """Run the fuzzer, or one of its processes (`--child`)."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reader", help="a name of READERS in readers.py")
    parser.add_argument("--minutes", type=float, default=10, help="of processor time")
    parser.add_argument("--out", type=Path, default=Path("/tmp/sea-fuzz"), help="corpus, findings, logs")
    parser.add_argument("--report", action="store_true", help="do not run: the table of all runs in OUT/results.jsonl")
    parser.add_argument("--keep", action="store_true", help="do not run: keep what adds coverage in tests/fuzz/corpus")
    parser.add_argument("--child", type=float, metavar="SECONDS", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.report:
        print(report(args.out))
    elif args.keep:
        from fuzz.smallest import keep_smallest

        print(keep_smallest(args.reader, args.out / "corpus" / args.reader))
    elif args.child is not None:
        child(args.reader, args.child, args.out)
    else:
        parent(args.reader, args.minutes * 60, args.out)


def parent(name: str, seconds: float, out: Path) -> None:
    """Processes one after the other until the time is used; a line of results.jsonl at the end."""
    for folder in ("corpus", "findings", "logs"):
        (out / folder / name).mkdir(parents=True, exist_ok=True)
    used, runs, coverage, deaths = 0.0, 0, 0, 0
    log = out / "logs" / name / f"{int(time.time())}.log"
    while used < seconds - 1:
        before = os.times()
        with log.open("ab") as stream:
            command = [sys.executable, __file__, name, "--child", str(seconds - used), "--out", str(out)]
            code = subprocess.run(command, stdout=stream, stderr=stream).returncode
        after = os.times()
        used += after.children_user + after.children_system - before.children_user - before.children_system
        deaths += code != 0
        if deaths > 40:
            break
    text = log.read_text("utf-8", "replace")
    runs = sum(int(number) for number in re.findall(r"^runs: (\d+)", text, re.MULTILINE))
    coverage = max([int(number) for number in re.findall(r"cov: (\d+)", text)], default=0)
    findings = sorted(path.stem for path in (out / "findings" / name).glob("*.txt"))
    row = {
        "reader": name, "cpu_seconds": round(used), "runs": runs, "coverage": coverage, "deaths": deaths,
        "corpus": len(list((out / "corpus" / name).iterdir())), "findings": findings, "finished": int(time.time()),
    }  # fmt: skip
    with (out / "results.jsonl").open("a") as stream:
        stream.write(json.dumps(row) + "\n")
    print(json.dumps(row))


def report(out: Path) -> str:
    """A row a reader: what all of its runs together used and found."""
    rows: dict[str, list[dict]] = {}
    for line in (out / "results.jsonl").read_text().splitlines():
        row = json.loads(line)
        rows.setdefault(row["reader"], []).append(row)
    table = ["| reader | CPU minutes | inputs tried | branches | inputs that added one |", "|---|---|---|---|---|"]
    for name, own in sorted(rows.items()):
        minutes, tried = sum(row["cpu_seconds"] for row in own) / 60, sum(row["runs"] for row in own)
        branches, kept = max(row["coverage"] for row in own), max(row["corpus"] for row in own)
        table.append(f"| `{name}` | {minutes:.1f} | {tried:,} | {branches:,} | {kept:,} |")
    return "\n".join(table)


def child(name: str, seconds: float, out: Path) -> None:
    """One process of libFuzzer."""
    try:
        import atheris
    except ModuleNotFoundError:
        sys.exit("error: atheris is missing\n  fix: pip install atheris (CPython 3.11 to 3.13 on Linux)")
    with atheris.instrument_imports(include=INSTRUMENTED):
        from fuzz.contract import Violation, limited, outcome, workplace
        from fuzz.readers import READERS, corpus_of, seeds_of

        seeds = seeds_of(name)
        with workplace() as folder, contextlib.suppress(Violation):
            for data in seeds:  # what is imported at the first use counts too, and its memory is no one's
                outcome(READERS[name], data, folder, seconds=60)
    kept, findings = out / "corpus" / name, out / "findings" / name
    for number, data in enumerate([*seeds, *(path.read_bytes() for path in corpus_of(name))]):
        (kept / f"seed-{number:04}").write_bytes(data)
    reader = READERS[name]
    runs = 0

    def one(data: bytes) -> None:
        nonlocal runs
        runs += 1
        try:
            outcome(reader, data, folder)
        except Violation as error:
            report = findings / error.key.replace(".py:", ".")
            if not Path(f"{report}.txt").exists():
                import traceback

                Path(f"{report}.txt").write_text(traceback.format_exc(), errors="backslashreplace")
                Path(f"{report}.bin").write_bytes(data)
                print(f"finding: {error}", flush=True)
        if runs % 64 == 0 and time.process_time() > seconds:
            print(f"runs: {runs}", flush=True)
            shutil.rmtree(folder, ignore_errors=True)
            os._exit(0)

    def other(data: bytes, longest: int, seed: int) -> bytes:
        rng = random.Random(seed)
        if rng.random() < 0.4:
            return atheris.Mutate(data, longest)
        from fuzz.mutations import mutate

        return mutate(data, rng)[:longest]

    flags = [f"-max_len={LONGEST}", "-timeout=60", "-rss_limit_mb=0", f"-artifact_prefix={findings}/died-",
             "-print_final_stats=0", "-close_fd_mask=0", "-reload=0"]  # fmt: skip
    with workplace() as folder, limited():
        atheris.Setup([sys.argv[0], *flags, str(kept)], one, custom_mutator=other)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
