"""SPIN's pairs (Chen et al., arXiv 2401.01335): the gold answer is chosen, what the model itself said is rejected.

No judge is asked, so no model is needed. The gold answer is `reference`, `completion` or `chosen`, or the last turn of
`messages`, whichever a record has first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from seatools.judge.filters import AnswerFilter
from seatools.judge.pairs import preference_line
from seatools.streams.records import BadRecord, Record
from seatools.text.cleaning.exact_duplicates import exact_key

GOLD_KEYS = ("reference", "completion", "chosen", "messages")


def gold_answer(record: Record) -> tuple[str, str]:
    """(key, text) of the gold answer. Raises BadRecord for a record without one."""
    for key in GOLD_KEYS:
        text = _text(record.value.get(key))
        if text is not None and text.strip():
            return key, text
    raise BadRecord("no gold answer", f"none of {', '.join(GOLD_KEYS)} holds an answer", where=record.where)


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and isinstance(value[-1], dict) and value[-1].get("role") == "assistant":
        return value[-1]["content"] if isinstance(value[-1].get("content"), str) else None
    return None


def gold_pairs(record: Record, usable: Sequence[int], filtering: AnswerFilter) -> Iterator[bytes | BadRecord]:
    """A preference line for each of the `usable` answers; one that is the gold answer itself is a reject, and one too
    long or short beside it."""
    try:
        key, gold = gold_answer(record)
    except BadRecord as error:
        yield error
        return
    if not usable:
        yield BadRecord("no answer", "no usable response", where=record.where)
    for answer in usable:
        text = record.value["responses"][answer]
        if exact_key(text) == exact_key(gold):
            yield BadRecord("identical answers", f"response {answer} is the gold answer", where=record.where)
        elif filtering.too_unequal(gold, text):
            yield BadRecord("length ratio", f"the gold answer and response {answer}", where=record.where)
        else:
            said = {"mode": "spin", "gold": key, "second": answer}
            yield preference_line(record, gold, text, said, margin=None)
