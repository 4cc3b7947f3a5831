"""SIB-200 (Adelani et al. 2023): the topic of a sentence, one of seven.

Prompt: a line that names the seven topics, `Text: {text}`, `Topic:`, a line each; then each topic's name. Labels are
the data set's English ones in every language.
"""

from __future__ import annotations

from typing import Any

from seatools.eval.item import Item, text_of
from seatools.streams.records import BadRecord

NEEDS = "`text`, `label` (one of seven topics)"
TOPICS = ("science/technology", "travel", "politics", "sports", "health", "entertainment", "geography")
HEADER = f"The topic of each text is one of {', '.join(TOPICS)}."


def recognises(value: dict[str, Any]) -> bool:
    return "text" in value and value.get("label") in TOPICS


def item(value: dict[str, Any], lang: str) -> Item:
    text, label = text_of(value, "text"), text_of(value, "label")
    if label not in TOPICS:
        raise BadRecord("bad label", f'field "label" is {label!r}, none of {", ".join(TOPICS)}')
    return Item(f"{HEADER}\nText: {text}\nTopic:", TOPICS, TOPICS.index(label))
