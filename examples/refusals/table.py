"""Refusal F1, precision and recall of each model, by language: python3 table.py SCORES... (standard library only)."""

from __future__ import annotations

import json
import sys
from pathlib import Path

METRICS = ("f1", "precision", "recall")


def main(paths: list[str]) -> None:
    """Print a line for each model and language."""
    print(f"{'model':<10}{'lang':<6}" + "".join(f"{metric:>11}" for metric in METRICS))
    for path in map(Path, paths):
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        table = {(row["lang"], row["metric"]): row["value"] for row in rows}
        for lang in dict.fromkeys(row["lang"] for row in rows):
            values = "".join(f"{table[lang, metric]:>11.3f}" for metric in METRICS)
            print(f"{path.name.split('.')[0]:<10}{lang:<6}{values}")


if __name__ == "__main__":
    main(sys.argv[1:])
