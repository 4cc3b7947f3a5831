"""The shapes of multiple-choice rows, each in a file of its own, and which one a record has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from seatools.eval import belebele, mmlu, plain_choice, sib200, xcopa
from seatools.eval.item import Item


@dataclass(frozen=True)
class RowFormat:
    """How one data set writes its questions."""

    name: str
    recognises: Callable[[dict[str, Any]], bool]
    item: Callable[[dict[str, Any], str], Item]
    """(record, lang) -> Item; raises BadRecord."""
    needs: str


# In the order in which `auto` tries them.
FORMATS = {
    "xcopa": RowFormat("xcopa", xcopa.recognises, xcopa.item, xcopa.NEEDS),
    "belebele": RowFormat("belebele", belebele.recognises, belebele.item, belebele.NEEDS),
    "mmlu": RowFormat("mmlu", mmlu.recognises, mmlu.item, mmlu.NEEDS),
    "sib200": RowFormat("sib200", sib200.recognises, sib200.item, sib200.NEEDS),
    "choice": RowFormat("choice", plain_choice.recognises, plain_choice.item, plain_choice.NEEDS),
}


def recognise(value: dict[str, Any]) -> RowFormat | None:
    """The format of a record, by its keys; None if it has none of them."""
    return next((form for form in FORMATS.values() if form.recognises(value)), None)
