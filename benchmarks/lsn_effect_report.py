"""The tables of lsn_effect.py from its results, in Markdown for docs/."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

Line = Mapping[str, Any]


def report(results: Path, *, low: str, langs: Sequence[str]) -> None:
    """Print all tables; of several lines of the same thing the last one counts."""
    lines = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
    verified = {line["set"]: line for line in lines if line["stage"] == "verify"}
    enhanced = {(line["kind"], line["lr"], line["seed"]): line for line in lines if line["stage"] == "enhance"}
    if verified:
        print(_selections(verified, langs))
        for name in ("magnitude", "lape", "random"):
            if name in verified:
                print(f"\n**{name}**, rows: switched off; columns: text\n\n{_matrix(verified[name], langs)}")
    if enhanced:
        print("\n" + _enhancement(list(enhanced.values()), low, langs))


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    rule = ["---"] + ["---:"] * (len(header) - 1)
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *rows])


def _selections(verified: Mapping[str, Line], langs: Sequence[str]) -> str:
    """A row a set: means over the languages switched off, the languages hit hardest by their own, the control."""
    header = ("set", "neurons a language", "own", "others", "own / others", "hit hardest by its own", "beyond random",
              "random own")  # fmt: skip
    rows = []
    for name, line in verified.items():
        summaries = [row for row in line["summaries"] if row["neurons"]]
        if not summaries:
            continue
        counts = [line["neurons"].get(lang, 0) for lang in langs]
        own, others = mean(row["own"] for row in summaries), mean(row["others"] for row in summaries)
        hardest = sum(row["hit_hardest"] == row["off"] for row in summaries)
        judged = [row for row in summaries if row["better_than_random"] is not None]
        better = f"{sum(row['better_than_random'] for row in judged)} of {len(judged)}" if judged else ""
        random = f"{mean(row['random_own'] for row in judged):+.4f}" if judged else ""
        spread = f"{counts[0]:,}" if len(set(counts)) == 1 else f"{min(counts):,} to {max(counts):,}"
        ratio = f"{own / others:.1f}" if others > 0 else "-"
        rows.append((name, spread, f"{own:+.4f}", f"{others:+.4f}", ratio, f"{hardest} of {len(langs)}", better,
                     random))  # fmt: skip
    return _table(header, rows)


def _matrix(line: Line, langs: Sequence[str]) -> str:
    rows = []
    for off in langs:
        cells = [line["cells"].get(f"{off} {scored}") for scored in langs]
        if any(cells):
            shown = ["" if cell is None else f"{cell[0]:+.4f}" for cell in cells]
            shown[langs.index(off)] = f"**{shown[langs.index(off)]}**"
            rows.append([off, *shown])
    return _table(["", *langs], rows)


def _enhancement(lines: Sequence[Line], low: str, langs: Sequence[str]) -> str:
    """Every rate of seed 0, then the best of each kind over the seeds."""
    before = next(line for line in lines if line["kind"] == "before")
    others = [lang for lang in langs if lang != low]
    near = next(lang for lang in ("id", *others) if lang in others)

    def changes(line: Line) -> dict[str, float]:
        return {lang: line["bits"][lang] - before["bits"][lang] for lang in langs}

    def row(line: Line) -> tuple[float, float, float, float, float]:
        change = changes(line)
        rest = [change[lang] for lang in others]
        return change[low], mean(rest), change[near], max(rest), line["held"] - before["held"]

    header = ["trained", "rate", "numbers", low, "others, mean", near, "worst other", "held-out text"]
    text = [f"before: {low} {before['bits'][low]:.4f}, others "
            f"{mean(before['bits'][lang] for lang in others):.4f}, held-out {before['held']:.4f}\n"]  # fmt: skip
    sweep = [line for line in lines if line["kind"] != "before" and line["seed"] == 0]
    text.append(
        _table(header, [(line["kind"], f"{line['lr']:g}", f"{line['trained']:,}", *(f"{x:+.4f}" for x in row(line)))
                        for line in sweep])
    )  # fmt: skip
    text.append("")
    best = {}
    for line in sweep:
        kind = line["kind"]
        if kind not in best or line["held"] < best[kind]["held"]:
            best[kind] = line
    rows = []
    for kind, chosen in best.items():
        same = [row(line) for line in lines if line["kind"] == kind and line["lr"] == chosen["lr"]]
        columns = [
            f"{mean(values):+.4f}" + (f" ±{stdev(values):.4f}" if len(values) > 1 else "")
            for values in zip(*same, strict=True)
        ]
        rows.append((kind, f"{chosen['lr']:g}", f"{chosen['trained']:,}", *columns, str(len(same))))
    text.append(_table([*header, "seeds"], rows))
    return "\n".join(text)
