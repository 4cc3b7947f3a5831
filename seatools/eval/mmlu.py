"""MMLU-style questions (Global-MMLU, Singh et al. 2024): a question, four options, one letter.

Prompt, as in lm-evaluation-harness: the question, `A. ` to `D. ` with the options, `Answer:`, a line each; then the
letter. Three shapes of rows: SEA-HELM's {"prompts": [{question, option_a, ...}], "label"}, Global-MMLU's own
{question, option_a, ..., answer}, MMLU's {question, choices, answer}.
"""

from __future__ import annotations

from typing import Any

from seatools.eval.item import LETTERS, Item, answer_index, letter_index, lettered, text_of
from seatools.eval.plain_choice import choices_of
from seatools.streams.records import BadRecord

NEEDS = "`prompts` and `label`, or `question`, `option_a` to `option_d` (or four `choices`) and `answer`"


def recognises(value: dict[str, Any]) -> bool:
    prompts = value.get("prompts")
    if isinstance(prompts, list) and prompts and isinstance(prompts[0], dict):
        return "option_a" in prompts[0]
    return "option_a" in value


def item(value: dict[str, Any], lang: str) -> Item:
    if "choices" in value and "option_a" not in value:
        choices = choices_of(value)
        if len(choices) != 4:
            raise BadRecord("bad choices", f"mmlu takes four choices, there are {len(choices)}", fix="task choice")
        prompt = lettered(text_of(value, "question"), choices, ".")
        return Item(prompt, tuple(LETTERS), answer_index(value.get("answer"), choices))
    row, label = value, value.get("answer")
    if "prompts" in value:
        prompts, label = value["prompts"], value.get("label")
        if not isinstance(prompts, list) or len(prompts) != 1 or not isinstance(prompts[0], dict):
            raise BadRecord("bad column", 'field "prompts" is not a list of one object')
        row = prompts[0]
    options = [text_of(row, f"option_{letter}") for letter in "abcd"]
    return Item(lettered(text_of(row, "question"), options, "."), tuple(LETTERS), letter_index(label, 4))
