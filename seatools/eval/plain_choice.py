"""Records of one's own: {"question", "choices": [...], "answer": index, letter or the choice itself}.

Prompt: `Question: {question}` newline `Answer:`, then each choice's text (the form of ARC in lm-evaluation-harness).
"""

from __future__ import annotations

from typing import Any

from seatools.eval.item import Item, answer_index, text_of
from seatools.streams.records import BadRecord

NEEDS = "`question`, `choices`, `answer`"


def recognises(value: dict[str, Any]) -> bool:
    return "question" in value and "choices" in value


def item(value: dict[str, Any], lang: str) -> Item:
    question, choices = text_of(value, "question"), choices_of(value)
    if "answer" not in value:
        raise BadRecord("missing column", 'field "answer" is missing')
    return Item(f"Question: {question}\nAnswer:", choices, answer_index(value["answer"], choices))


def choices_of(value: dict[str, Any]) -> tuple[str, ...]:
    """The field `choices`: at least two texts."""
    choices = value.get("choices")
    if not isinstance(choices, list) or len(choices) < 2 or not all(isinstance(choice, str) for choice in choices):
        raise BadRecord("bad choices", 'field "choices" is not a list of two or more strings')
    if not all(choice.strip() for choice in choices):
        raise BadRecord("empty text", 'field "choices" holds an empty choice')
    return tuple(choice.strip() for choice in choices)
