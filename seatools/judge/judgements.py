"""What was said before: judgements kept in a file while they are made, and judgements of others that are replayed.

A line holds `item` (16 digits of a hash of what was judged: the prompt and the answers in their order), `id` of the
record if it has one, the answers' indices, and `forward` and `backward` (log-odds that the first shown is better, or
the label named) or `points`; null: no verdict. A kept line has `key` too, a hash of the judge, its settings and the
text it read, under which a run that is begun again finds it. A line for `--recorded` needs `item`, or `id` and indices.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from seatools.judge.judges import Judge
from seatools.judge.pairs import Comparison, Item
from seatools.streams.appended_lines import AppendedLines
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.inputs import bare_suffix
from seatools.streams.records import BadRecord, RecordReader, dump

WIDTHS = {"pairwise": 2, "pointwise": 1}
Values = tuple[float, ...]


def item_digest(item: Item, *, swapped: bool = False) -> str:
    """16 hex digits of what is judged, whoever judges."""
    if isinstance(item, Comparison):
        question = item.question.swapped if swapped else item.question
        return _digest(["pairwise", question.prompt, question.first, question.second])
    return _digest(["pointwise", *item.answer])


def item_key(item: Item, judge: Judge, settings: Mapping[str, Any]) -> str:
    """32 hex digits of what is judged, by whom, and of what is read of it."""
    return _digest([judge.name, settings, judge.text(item), item_digest(item)], 32)


def _digest(value: Any, digits: int = 16) -> str:
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()[:digits]


def judgement_line(item: Item, values: Values, judge: str, key: str) -> bytes:
    """The line that is kept of a judgement, whole precision."""
    said: list[float | None] = [None if math.isnan(value) else value for value in values]
    row: dict[str, Any] = {"key": key, "item": item_digest(item)}
    record = item.record.value
    row |= {name: record[name] for name in ("id", "lang") if name in record}
    if isinstance(item, Comparison):
        row |= {"first": item.i, "second": item.j, "forward": said[0], "backward": said[1]}
    else:
        row |= {"answer": item.i, "points": said[0]}
    return dump(row | {"judge": judge}) + b"\n"


class KeptJudgements(AppendedLines):
    """`--judgements FILE`: found again by `key`."""

    def __init__(self, path: str) -> None:
        if bare_suffix(path) != Path(path).suffix.lower():
            raise UsageError(f"{path}: judgements are appended, which compressed files do not take")
        super().__init__(path, _key_of)

    def values(self, key: str) -> Values | None:
        """What was kept under `key`."""
        if key not in self:
            return None
        row = orjson.loads(self.get(key))
        return _values(row, ("forward", "backward") if "forward" in row else ("points",), str(self.path))


def _key_of(line: bytes) -> str:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise BadRecord("broken json", f"broken JSON: {error.msg}") from error
    if not isinstance(row, dict) or not isinstance(row.get("key"), str):
        raise BadRecord("no judgement", "no judgement of `sea judge --judgements`", fix="name another file")
    return str(row["key"])


class RecordedJudgements:
    """`--recorded FILE`, read once; its labels are A and B.

    Raises SeaError, naming the line, for what is no judgement or contradicts an earlier one of the same answers, and
    for two records with the one id that a judgement names.
    """

    name = "recorded"
    labels = ("A", "B")

    def __init__(self, path: str, mode: str) -> None:
        self.path, self.mode = path, mode
        self._found: dict[tuple[Any, ...], Values] = {}
        self._named: dict[tuple[Any, ...], str] = {}  # by id: the digest of the item that it has been taken for
        names = ("forward", "backward") if mode == "pairwise" else ("points",)
        indices = ("first", "second") if mode == "pairwise" else ("answer",)
        for record in RecordReader([path]):
            row = record.value
            if not set(names) <= set(row):
                raise SeaError(f"a {mode} judgement needs {' and '.join(names)}", where=record.where)
            values = _values(row, names, record.where)
            if isinstance(row.get("item"), str):
                self._put((row["item"],), values, record.where)
            elif "id" in row and all(type(row.get(name)) is int for name in indices):
                own = tuple(row[name] for name in indices)
                self._put((str(row["id"]), *sorted(own)), values if own == tuple(sorted(own)) else values[::-1],
                          record.where)  # fmt: skip
            else:
                needed = f"`id`, {' and '.join(f'`{name}`' for name in indices)}"
                raise SeaError(f"a judgement needs `item`, or {needed}", where=record.where)

    def _put(self, key: tuple[Any, ...], values: Values, where: str) -> None:
        before = self._found.setdefault(key, values)
        if not np.array_equal(before, values, equal_nan=True):
            raise SeaError(
                "another judgement of the same answers stands before this one", where=where, fix="keep one of them"
            )

    def text(self, item: Item) -> str:
        """Nothing is read."""
        return ""

    def values(self, items: Sequence[Item]) -> Any:
        """As `Judge.values`. Raises SeaError, with how many, where items have no judgement."""
        found = [self._of(item) for item in items]
        missing = [item for item, values in zip(items, found, strict=True) if values is None]
        if missing:
            first = missing[0].record
            raise SeaError(
                f"{len(missing):,} of {len(items):,} have no judgement; the first is of {first.where}", where=self.path
            )
        return np.array([values for values in found if values is not None], dtype=np.float64)

    def _of(self, item: Item) -> Values | None:
        if (found := self._found.get((item_digest(item),))) is not None:
            return found
        if isinstance(item, Comparison):
            turned = self._found.get((item_digest(item, swapped=True),))
            if turned is not None:
                return turned[::-1]  # its forward order is our backward one
        if "id" not in item.record.value:
            return None
        places = (item.i, item.j) if isinstance(item, Comparison) else (item.i,)
        key = (str(item.record.value["id"]), *places)
        if key in self._found and self._named.setdefault(key, item_digest(item)) != item_digest(item):
            raise SeaError(
                f"another record has the id {key[0]}, so a judgement by id may be of either", where=item.record.where,
                fix="ids that differ, or judgements by `item`",
            )  # fmt: skip
        return self._found.get(key)


def _values(row: Mapping[str, Any], names: Sequence[str], where: str) -> Values:
    found = []
    for name in names:
        value = row.get(name)
        if value is None:
            found.append(math.nan)
        elif name != "points" and value in ("A", "B"):
            found.append(1.0 if value == "A" else -1.0)
        elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            found.append(float(value))
        else:
            raise SeaError(f'"{name}" of a judgement is {value!r}', where=where, fix="a number, A, B or null")
    return tuple(found)
