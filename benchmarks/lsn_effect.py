"""Do the sets do what they should? Detection, verification and training of neurons on a small multilingual model.

    python benchmarks/lsn_effect.py base         # texts, tokenizer, a Llama of 4 M parameters: 30 minutes on a core
    python benchmarks/lsn_effect.py detect       # statistics of eight languages, sets by every method, equal counts
    python benchmarks/lsn_effect.py verify       # each set switched off, all languages read (FLORES-200 dev)
    python benchmarks/lsn_effect.py enhance      # one language trained: its neurons, random ones, LoRA, all weights
    python benchmarks/lsn_effect.py report       # the tables of docs/

`--work FOLDER` keeps what the stages make; what is there is kept, so a stage that was stopped goes on. Results are
lines of benchmarks/results/lsn_effect.jsonl. The stage `base` is told in lsn_effect_base.py, `enhance` in
lsn_effect_enhance.py. Detection reads training text, verification FLORES, which no stage trains on. Sets are compared
at equal counts: the TOP FFN neurons of each language by every method; PLND's rule is the published one (every
document) and one less strict (nine of ten), since its intersection may hold fewer than asked. `all parts`: the same
number of neurons chosen among FFN rows and attention rows and columns together.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from lsn_effect_base import FLORES, LOW, ROW, lines_of, make_base, sea
from lsn_effect_enhance import enhance
from lsn_effect_report import report
from record import RESULTS, record

NAME = "lsn_effect"
TOP = 88  # FFN neurons a language of 3,072: 50,688 numbers, as many as LoRA of rank 4 on gate, up and down has
SMALL_TOP = 30
STEPS, LR = 1250, 7e-3


class Set(NamedTuple):
    """One neuron file: its name, and the flags of `select` that make it."""

    name: str
    flags: tuple[str, ...]
    top: int
    like: str | None = None
    """The control of this set."""

    def arguments(self, sets: Path) -> list[object]:
        if self.like is not None:
            return ["--method", "random", "--like", sets / f"{self.like}.safetensors", "--seed", 1]
        return [*self.flags, "--top", self.top]


def all_sets() -> Iterator[Set]:
    """Every set that is compared, the equal counts of the FFN first."""
    for top in (TOP, SMALL_TOP):
        mark = "" if top == TOP else f" {top}"
        ffn = ("--parts", "ffn")
        yield Set(f"magnitude{mark}", ("--method", "magnitude", *ffn), top)
        yield Set(f"lape{mark}", ("--method", "lape"), top)
        yield Set(f"taylor{mark}", ("--method", "taylor", *ffn), top)
        yield Set(f"plnd{mark}", ("--method", "plnd", *ffn), top)
        yield Set(f"plnd of 0.9{mark}", ("--method", "plnd", *ffn, "--min-docs", "0.9"), top)
        yield Set(f"random{mark}", (), top, like=f"magnitude{mark}")
    parts = ("--parts", "ffn,attention")
    yield Set("magnitude, all parts", ("--method", "magnitude", *parts), TOP)
    yield Set("plnd, all parts", ("--method", "plnd", *parts), TOP)
    yield Set("random, all parts", (), TOP, like="magnitude, all parts")


def detect(work: Path, max_tokens: int) -> None:
    """WORK/stats.safetensors, WORK/sets/NAME.safetensors and what `select` reports beside each."""
    texts = [part for lang in FLORES for part in ("--lang", f"{lang}={work}/text/{lang}.jsonl")]
    stats = work / "stats.safetensors"
    if not stats.exists():
        sea(
            "lsn-detect", "stats", work / "base", *texts, "--taylor", "--seq-len", ROW, "--max-tokens", max_tokens,
            "-o", stats,
        )  # fmt: skip
    (work / "sets").mkdir(exist_ok=True)
    for one in all_sets():
        path = work / f"sets/{one.name}.safetensors"
        if not path.exists():
            with open(path.with_suffix(".jsonl"), "w") as stream:
                arguments = ["lsn-detect", "select", stats, *one.arguments(work / "sets"), "--json", "-o", path]
                sea(*arguments, stdout=stream.fileno(), workers=False)


def verify(work: Path, *, lines: int, draws: int, outputs: int, only: str, resamples: int) -> None:
    """A line of results a set: its matrix and summaries, as `sea lsn-detect verify` writes them."""
    data = [part for lang in FLORES for part in ("--data", f"{lang}={work}/flores/{lang}.txt")]
    (work / "verified").mkdir(exist_ok=True)
    for one in all_sets():
        out = work / f"verified/{one.name}.{lines}.jsonl"
        if out.exists() or only not in one.name:
            continue
        control = 0 if one.like is not None else draws
        # Whether outputs change language is asked of the two that the text compares: each asks for generation.
        asked = outputs if one.name in ("magnitude", "random", "lape") else 0
        sea(
            "lsn-detect", "verify", work / "base", work / f"sets/{one.name}.safetensors", *data, "--limit", lines,
            "--seq-len", ROW, "--random", control, "--bootstrap", resamples, "--outputs", asked, "-q", "-o", out,
        )  # fmt: skip
        rows = [json.loads(line) for line in lines_of(out)]
        found = {row["lang"]: row["num_neurons"] for row in map(json.loads, lines_of(work / f"sets/{one.name}.jsonl"))}
        cells = {
            f"{row['off']} {row['scored']}": [row["change"], *row["change_interval"], row["random_change"]]
            for row in rows
            if row["record"] == "cell"
        }
        summaries = [row for row in rows if row["record"] == "summary"]
        measured = {"stage": "verify", "set": one.name, "top": one.top, "lines": lines, "neurons": found}
        record(NAME, {**measured, "cells": cells, "summaries": summaries})


def main() -> None:
    """One stage, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=("base", "detect", "verify", "enhance", "report", "all"))
    parser.add_argument("--work", type=Path, default=Path("/tmp/sea-lsn-effect"))
    parser.add_argument("--max-tokens", type=int, default=60_000, help="detect: tokens read a language")
    parser.add_argument("--lines", type=int, default=250, help="verify, enhance: FLORES lines a language")
    parser.add_argument("--draws", type=int, default=1, help="verify: draws of the control within a file")
    parser.add_argument("--outputs", type=int, default=16, help="verify: greedy outputs a language")
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--only", default="", help="verify: sets whose name holds this; enhance: runs")
    parser.add_argument("--steps", type=int, default=100, help="enhance: of 4,096 tokens")
    parser.add_argument("--seeds", type=int, default=3, help="enhance: at the best rate")
    parser.add_argument("--fresh", action="store_true", help="begin the stage anew")
    arguments = parser.parse_args()
    work: Path = arguments.work
    stages = ("base", "detect", "verify", "enhance", "report") if arguments.stage == "all" else (arguments.stage,)
    for stage in stages:
        if arguments.fresh:
            for name in {"detect": ("sets", "stats.safetensors"), "verify": ("verified",)}.get(stage, ()):
                path = work / name
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
        if stage == "base":
            make_base(work, steps=STEPS, lr=LR, optimizer="muon")
        elif stage == "detect":
            detect(work, arguments.max_tokens)
        elif stage == "verify":
            verify(
                work, lines=arguments.lines, draws=arguments.draws, outputs=arguments.outputs, only=arguments.only,
                resamples=arguments.resamples,
            )  # fmt: skip
        elif stage == "enhance":
            enhance(work, steps=arguments.steps, seeds=arguments.seeds, lines=arguments.lines, only=arguments.only)
        else:
            report(RESULTS / f"{NAME}.jsonl", low=LOW, langs=tuple(FLORES))


if __name__ == "__main__":
    main()
