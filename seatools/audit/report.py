"""Score records of an audit, and the ways they leave: JSONL, CSV, a table for people."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from typing import IO, Any

from seatools.audit.intervals import Value
from seatools.streams.inputs import bare_suffix
from seatools.streams.records import dump
from seatools.text.tokenizer import Tokenizer


class Report:
    """Records in the order they were added."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    def add(
        self,
        path: str,
        tokenizer: Mapping[str, Any],
        lang: str | None,
        metric: str,
        value: Value,
        n: int | None,
        **more: Any,
    ) -> None:
        """One score record; `tokenizer` and `more` make its `config`, `ci_low` and `ci_high` stand beside `stderr`."""
        interval = {} if value.ci_low is None else {"ci_low": value.ci_low, "ci_high": value.ci_high}
        self.records.append(
            {"task": "audit", "lang": lang, "metric": metric, "value": value.value, "stderr": value.stderr}
            | interval
            | {"n": n, "model": path, "config": {**tokenizer, **more}}
        )

    def write(self, stream: IO[bytes], form: str, output: str | None) -> None:
        """JSONL, or with the form "csv" or an output named so, CSV with one row a record."""
        if form == "csv" or (output is not None and bare_suffix(output) == ".csv"):
            stream.write(_csv(self.records))
        else:
            stream.writelines(dump(record) + b"\n" for record in self.records)


def config_of(tokenizer: Tokenizer) -> dict[str, Any]:
    """What every record says of its tokenizer."""
    return {"tokenizer": tokenizer.digest(), "kind": tokenizer.kind, "vocab_size": tokenizer.vocab_size}


def _csv(records: Iterable[Mapping[str, Any]]) -> bytes:
    rows = [{**record, **record.get("config", {})} for record in records]
    columns = list(dict.fromkeys(key for row in rows for key in row if key != "config"))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
