"""The demo's table of before and after, from the score records that its steps left in a folder.

python3 table.py out
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

LANGS = ("en", "th", "lo", "km", "my", "vi", "id")
Scores = dict[str, float]


def records(path: Path) -> list[dict]:
    """The JSONL records of a file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def scores(path: Path, metric: str) -> Scores:
    """lang -> value of one metric, of the plain pass (nothing switched off)."""
    return {
        row["lang"]: row["value"]
        for row in records(path)
        if row["metric"] == metric and not row["config"].get("deactivate")
    }


def without(path: Path, lang: str) -> Scores:
    """lang -> bits per byte with the neurons of `lang` switched off."""
    return {
        row["lang"]: row["value"]
        for row in records(path)
        if str(row["config"].get("deactivate", "")).endswith(f":{lang}")
    }


def line(title: str, values: Scores, form: str = "8.2f") -> str:
    """One row of the table."""
    return f"{title:<38}" + "".join(f"{values[lang]:{form}}" if lang in values else " " * 8 for lang in LANGS)


def selectivity(path: Path) -> tuple[Scores, Scores]:
    """For each language: the rise of its own bits per byte without its neurons, and that over the others' mean rise."""
    plain = scores(path, "bits_per_byte")
    own, ratio = {}, {}
    for lang in LANGS:
        off = without(path, lang)
        if not off:
            continue
        rise = {other: off[other] - plain[other] for other in LANGS}
        others = [rise[other] for other in LANGS if other != lang]
        own[lang] = rise[lang]
        if rise[lang] > 0:
            ratio[lang] = rise[lang] / max(sum(others) / len(others), 1e-3)
    return own, ratio


def main(folder: Path) -> None:
    """Print the table."""
    base, adapted = folder / "eval-base.jsonl", folder / "eval-adapted.jsonl"
    own, ratio = selectivity(adapted)
    neurons = {row["lang"]: row["num_neurons"] for row in records(folder / "neurons.jsonl")}
    manifest = json.loads((folder / "preferences.jsonl.manifest.json").read_text(encoding="utf-8"))
    print()
    print(f"{'60 lines per language, not trained on':<38}" + "".join(f"{lang:>8}" for lang in LANGS))
    print(line("bytes per token, base tokenizer", scores(folder / "audit-before.jsonl", "bytes_per_token")))
    print(line("bytes per token, extended", scores(folder / "audit-after.jsonl", "bytes_per_token")))
    print(line("bits per byte, base model", scores(base, "bits_per_byte")))
    print(line("bits per byte, adapted", scores(adapted, "bits_per_byte")))
    print(line("  + Lao's neurons trained further", scores(folder / "eval-lao.jsonl", "bits_per_byte")))
    print(line("  + aligned by its own preferences", scores(folder / "eval-aligned.jsonl", "bits_per_byte")))
    print(line("neurons found (LAPE)", neurons, "8.0f"))
    print(line("rise of bits per byte without them", own, "8.3f"))
    print(line("  selectivity: own rise / others' mean", ratio, "8.1f"))
    print()
    for lang, row in sorted(manifest["counts"].items()):
        share = f"both orders agree on {row['agreement']:.0%}"
        print(f"preference pairs, {lang}: {row['kept']} of {row['pairs']} kept ({share})")


main(Path(sys.argv[1]))
