"""Records small enough to count by hand."""

from __future__ import annotations

from typing import Any

from seatools.streams.records import Record, dump


def records(*values: dict[str, Any], path: str = "data.jsonl") -> list[Record]:
    return [Record(dump(value), value, path, line) for line, value in enumerate(values, 1)]
