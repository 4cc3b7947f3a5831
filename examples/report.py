"""The score records of `sea audit` and `sea eval` as one small table: a row per file, a column per language.

python3 report.py base.audit.jsonl tok.audit.jsonl base.eval.jsonl model.eval.jsonl
"""

import json
import sys
from pathlib import Path


def rows(path: str) -> dict[tuple[str, str], float]:
    """(metric, lang) -> value of the metrics that the table shows."""
    found = {}
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if record["metric"] in ("bytes_per_token", "bits_per_byte"):
            found[record["metric"], record["lang"]] = record["value"]
    return found


def main(paths: list[str]) -> None:
    """Print one table per metric."""
    tables = {Path(path).name.split(".")[0] + "." + Path(path).name.split(".")[1]: rows(path) for path in paths}
    for metric in ("bytes_per_token", "bits_per_byte"):
        langs = list(dict.fromkeys(lang for table in tables.values() for found, lang in table if found == metric))
        print(f"{metric:<24}" + "".join(f"{lang:>9}" for lang in langs))
        for name, table in tables.items():
            if any(found == metric for found, _ in table):
                cells = "".join(f"{table.get((metric, lang), float('nan')):>9.3f}" for lang in langs)
                print(f"  {name.rsplit('.', 1)[0]:<22}{cells}")
        print()


main(sys.argv[1:])
