"""How the right answer is named in data: by index, number, letter in any script, text; and labels inside options.

M3Exam writes the label into the option ("๓. นภา", "C. cat") and names the answer by it, in Thai for a third of the
items with Thai digits, and 74 times in the digits that its options do not use. Labels are compared by their place, so
๓, 3 and ③ are the same. Where an exam numbers its options wrongly (A B C A) the place counts, not what is written.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

from seatools.eval.answer_letters import FAMILIES
from seatools.streams.records import BadRecord

LETTERS = "ABCDEFGHIJ"
DIGITS = "1234567890"
_LABEL = re.compile(r"\s*[(\[（]?\s*(\w)\s*[).:、．\]）]+(?:\s+|(?!\d))")  # not the 1 of "1.5"
# Cyrillic and Greek capitals that look like Latin ones; they stand in Vietnamese M3Exam options.
_LOOKALIKES = str.maketrans("АВСЕАΑΒΕ", "ABCEAABE")


def plain_label(label: str) -> str:
    """A label without brackets and full stop, in capitals, digits as ASCII ones: "(๓)" -> "3", "b." -> "B"."""
    label = unicodedata.normalize("NFKC", label).strip("()[].:,、 \t\n").upper().translate(_LOOKALIKES)
    return "".join(str(unicodedata.digit(sign)) if unicodedata.digit(sign, None) is not None else sign
                   for sign in label)  # fmt: skip


def place_of(label: str) -> int | None:
    """The place from 0 that a label stands for in its family; None where it is no label."""
    plain = plain_label(label)
    return next((family.index(plain) for family in FAMILIES if len(plain) == 1 and plain in family), None)


def _written(option: str) -> re.Match[str] | None:
    found = _LABEL.match(option)
    return found if found and place_of(found[1]) is not None else None


def option_label(option: str) -> str:
    """The label that an option begins with, as it is written: "๓. นภา" -> "๓"; "" without one."""
    found = _written(option)
    return found[1] if found else ""


def without_label(option: str) -> str:
    """An option without the label that it begins with: "๓. นภา" -> "นภา"."""
    found = _written(option)
    return option[found.end() :] if found else option


def own_labels(options: Sequence[str]) -> list[str]:
    """The labels of options that carry theirs: as written where they tell the options apart, else by place.

    Raises BadRecord where no option has one.
    """
    written = [option_label(option) for option in options]
    plain = [plain_label(label) for label in written]
    if all(plain) and len(set(plain)) == len(plain):
        return written
    first = next((label for label in written if label), None)
    if first is None:
        raise BadRecord("bad choices", f"the options carry no labels: {options[0]!r}")
    family = _native_family(first)
    if len(options) > len(family):
        raise BadRecord("bad choices", f"{len(options)} options, and labels for {len(family)}")
    return list(family[: len(options)])


def _native_family(label: str) -> str:
    """The labels beside `label` as they are written: its case, its script's digits."""
    plain = plain_label(label)
    family = next(family for family in FAMILIES if plain in family)
    if family == DIGITS and label != plain:
        zero = ord(label) - int(plain)
        return "".join(chr(zero + int(digit)) for digit in family)
    return family.lower() if label.islower() else family


def label_place(label: Any, labels: Sequence[str]) -> int:
    """The index of the label among those of the options, digits of every script alike. Raises BadRecord."""
    plain = plain_label(str(label)) if isinstance(label, str | int) and not isinstance(label, bool) else ""
    own = [plain_label(one) for one in labels]
    if plain in own:
        return own.index(plain)
    place = place_of(plain) if plain else None
    if place is None or place >= len(labels):
        raise BadRecord("bad label", f"the answer {label!r} is none of the labels {', '.join(labels)}")
    return place


def letter_index(label: Any, num_choices: int) -> int:
    """The index that an option letter names: A-J in either case, or a letter of a script's own list (ကခဂဃ)."""
    letter = label.strip() if isinstance(label, str) else ""
    index = place_of(letter) if letter and not plain_label(letter).isdigit() else None
    if index is None or index >= num_choices:
        raise BadRecord(
            "bad label", f"the label {label!r} is none of the {num_choices} options A-{LETTERS[num_choices - 1]}"
        )
    return index


def number_index(number: Any, num_choices: int) -> int:
    """The index that a number from 1 names."""
    text = plain_label(str(number)) if not isinstance(number, bool | float) else ""
    if not text.isdigit() or not 1 <= int(text) <= num_choices:
        raise BadRecord("bad label", f"the answer is {number!r}, none of 1 to {num_choices}")
    return int(text) - 1


def index_of(answer: Any, num_choices: int) -> int:
    """An index from 0, also as the text of a table's cell."""
    if isinstance(answer, str) and answer.strip().isascii() and answer.strip().isdigit():
        answer = int(answer)
    if not isinstance(answer, int) or isinstance(answer, bool):
        raise BadRecord("bad label", f"the answer {answer!r} is no index")
    if not 0 <= answer < num_choices:
        raise BadRecord("bad label", f"the answer {answer} is out of range: there are {num_choices} choices, from 0")
    return answer


def answer_index(answer: Any, choices: Sequence[str]) -> int:
    """The index that `answer` names: an index from 0, an option letter, or the text of a choice."""
    if isinstance(answer, int) and not isinstance(answer, bool):
        return index_of(answer, len(choices))
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


def text_index(answer: Any, choices: Sequence[str]) -> int:
    """The index of the choice whose text the answer is."""
    found = [i for i, choice in enumerate(choices) if isinstance(answer, str) and choice == answer.strip()]
    if len(found) != 1:
        raise BadRecord("bad label", f"the answer {answer!r} is {len(found)} of the choices, not one")
    return found[0]
