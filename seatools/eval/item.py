"""One multiple-choice question as the model reads it, and how the right answer is named in data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from seatools.streams.records import BadRecord

LETTERS = "ABCD"
# Option letters of Burmese exams, as Global-MMLU labels them.
_NATIVE = {native: latin for latin, native in zip(LETTERS, "ကခဂဃ", strict=True)}


@dataclass(frozen=True)
class Item:
    """The model reads `prompt`, a space, and each of `choices` in turn; `answer` is the index of the right one."""

    prompt: str
    choices: tuple[str, ...]
    answer: int


def text_of(value: dict[str, Any], key: str) -> str:
    """The stripped text under `key`. Raises BadRecord where it is missing, no string, or empty."""
    if key not in value:
        raise BadRecord("missing column", f'field "{key}" is missing; there are {", ".join(value) or "none"}')
    text = value[key]
    if not isinstance(text, str):
        raise BadRecord("bad column", f'field "{key}" is {type(text).__name__}, not a string')
    if not text.strip():
        raise BadRecord("empty text", f'field "{key}" is empty')
    return text.strip()


def letter_index(label: Any, num_choices: int) -> int:
    """The index that an option letter names: A-D in either case, or ကခဂဃ."""
    letter = label.strip() if isinstance(label, str) else ""
    letter = _NATIVE.get(letter, letter).upper()
    index = ord(letter) - ord("A") if len(letter) == 1 else -1
    if not 0 <= index < num_choices:
        raise BadRecord(
            "bad label", f"the label {label!r} is none of the {num_choices} options A-{chr(64 + num_choices)}"
        )
    return index


def answer_index(answer: Any, choices: Sequence[str]) -> int:
    """The index that `answer` names: an index from 0, an option letter, or the text of a choice."""
    if isinstance(answer, int) and not isinstance(answer, bool):
        if not 0 <= answer < len(choices):
            raise BadRecord(
                "bad label", f"the answer {answer} is out of range: there are {len(choices)} choices, from 0"
            )
        return answer
    if not isinstance(answer, str):
        raise BadRecord("bad label", f"the answer is {type(answer).__name__}, not an index, a letter or a choice")
    found = {i for i, choice in enumerate(choices) if choice == answer.strip()}
    try:
        found.add(letter_index(answer, len(choices)))
    except BadRecord:
        if not found:
            raise BadRecord("bad label", f"the answer {answer!r} is neither a letter nor one of the choices") from None
    if len(found) > 1:
        raise BadRecord("bad label", f"the answer {answer!r} may mean several choices", fix="give the index, from 0")
    return found.pop()


def lettered(question: str, options: Sequence[str], mark: str) -> str:
    """A question, its options one a line as "A" + mark + text, and "Answer:"; the letter is what the model adds."""
    lines = [f"{letter}{mark} {option}" for letter, option in zip(LETTERS, options, strict=True)]
    return "\n".join([question, *lines, "Answer:"])
