"""Belebele (Bandarkar et al. 2023): a passage, a question, four options, one letter.

Prompt, as in the paper and in lm-evaluation-harness (which ends it with a full-width colon; here it is a plain one):
`P: {passage}`, `Q: {question}`, `A: ` to `D: ` with the options, `Answer:`, a line each; then the letter.
"""

from __future__ import annotations

from typing import Any

from seatools.eval.item import LETTERS, Item, lettered, text_of
from seatools.streams.records import BadRecord

NEEDS = "`flores_passage`, `question`, `mc_answer1` to `mc_answer4`, `correct_answer_num`"


def recognises(value: dict[str, Any]) -> bool:
    return "flores_passage" in value and "mc_answer1" in value


def item(value: dict[str, Any], lang: str) -> Item:
    options = [text_of(value, f"mc_answer{number}") for number in range(1, 5)]
    number = str(value.get("correct_answer_num")).strip()
    if number not in ("1", "2", "3", "4"):
        raise BadRecord("bad label", f'field "correct_answer_num" is {number!r}, none of 1 to 4')
    prompt = lettered(f"P: {text_of(value, 'flores_passage')}\nQ: {text_of(value, 'question')}", options, ":")
    return Item(prompt, tuple(LETTERS), int(number) - 1)
