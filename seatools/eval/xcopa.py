"""XCOPA (Ponti et al. 2020): which of two sentences is the cause, or the effect, of a premise.

Prompt: the premise without its full stop, a connector ("because", "therefore") in the language; then each choice with
its first letter in lower case. Connectors and form are lm-evaluation-harness' (tasks/xcopa/utils.py, 1bdad06c), but
that cuts off the premise's last character whatever it is: in Thai and Tamil, which have no full stop there, a letter.
"""

from __future__ import annotations

from typing import Any

from seatools.eval.item import Item, text_of
from seatools.streams.records import BadRecord

NEEDS = "`premise`, `choice1`, `choice2`, `question` (cause or effect), `label` (0 or 1)"
CONNECTORS = {
    "et": {"cause": "sest", "effect": "seetõttu"},
    "ht": {"cause": "poukisa", "effect": "donk sa"},
    "id": {"cause": "karena", "effect": "maka"},
    "it": {"cause": "perché", "effect": "quindi"},
    "qu": {"cause": "imataq", "effect": "chaymi"},
    "sw": {"cause": "kwa sababu", "effect": "kwa hiyo"},
    "ta": {"cause": "காரணமாக", "effect": "எனவே"},
    "th": {"cause": "เพราะ", "effect": "ดังนั้น"},
    "tr": {"cause": "çünkü", "effect": "bu yüzden"},
    "vi": {"cause": "bởi vì", "effect": "vì vậy"},
    "zh": {"cause": "因为", "effect": "所以"},
}


def recognises(value: dict[str, Any]) -> bool:
    return {"premise", "choice1", "choice2"} <= value.keys()


def item(value: dict[str, Any], lang: str) -> Item:
    connectors = CONNECTORS.get(lang.replace("_", "-").partition("-")[0].lower())
    if connectors is None:
        raise BadRecord(
            "no connector",
            f'xcopa has no connectors for the language "{lang}"',
            fix=f"label the data with one of {', '.join(CONNECTORS)}, as in --data th=FILE",
        )
    premise, question = text_of(value, "premise"), text_of(value, "question")
    if question not in connectors:
        raise BadRecord("bad column", f'field "question" is {question!r}, neither cause nor effect')
    choices = tuple(_lower_first(text_of(value, key)) for key in ("choice1", "choice2"))
    label = value.get("label")
    if label not in (0, 1) or isinstance(label, bool):
        raise BadRecord("bad label", f'field "label" is {label!r}, neither 0 nor 1')
    return Item(f"{premise.removesuffix('.').removesuffix('。')} {connectors[question]}", choices, int(label))


def _lower_first(text: str) -> str:
    return text[0].lower() + text[1:]
