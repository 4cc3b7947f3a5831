"""The number that an answer ends in: after the language's answer phrase (strict), else the last one (flexible).

lm-evaluation-harness' patterns (tasks/mgsm, 0.4.12) read no Thai, Lao, Khmer or Burmese digit, make 1800 of 18.00, 125
of 12,5 and 5 of -5, look for an English phrase in Bengali, and take the 7 of "18 dollars every 7 days" (research A3.5).
Here numbers are read by `number_formats.py`, phrases come from `data/answers.toml`, and after a phrase
the first number counts, or what an equation there comes to: "the answer is 5 + 6 = 11".
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import NamedTuple

from seatools.eval.answer_phrases import announcement, without_headers
from seatools.eval.number_formats import base_language, numbers, plain

_REACH = 1000  # characters after a phrase in which its number stands
_MARKED = re.compile(r"\\boxed\{|####")
_TO_EQUALS = re.compile(r"[\s\d.,'()+\-*/×x÷·$€£¥%]*=\s*")
_BEFORE_NUMBER = re.compile(r"[\s*_`$(\[\\]*")


class NumberRead(NamedTuple):
    """None: there is no such number."""

    strict: Decimal | None
    flexible: Decimal | None


def answer_number(text: str, lang: str) -> NumberRead:
    """The number of an answer in `lang`, a BCP 47 or FLORES tag."""
    text = without_headers(plain(text), lang)
    strict = _after_last(text, announcement(lang, "answer"), lang)
    if strict is not None:
        return NumberRead(strict, strict)
    flexible = _after_last(text, _MARKED, lang)
    if flexible is None and base_language(lang) != "en":
        flexible = _after_last(text, announcement("en", "answer"), lang)
    if flexible is None:
        for found in numbers(text, lang):
            flexible = found.value
    return NumberRead(None, flexible)


def _after_last(text: str, phrase: re.Pattern[str], lang: str) -> Decimal | None:
    """The number on the line after the last phrase that has one there."""
    for match in reversed(list(phrase.finditer(text))):
        rest = text[match.end() : match.end() + _REACH]
        if match.end() + _REACH < len(text):
            rest = rest.rstrip("0123456789.,")  # the end may cut a number
        line = rest.lstrip(" \t:*_`\n\r：").partition("\n")[0]
        for found in numbers(line, lang):
            value, end = found.value, found.end
            while equation := _TO_EQUALS.match(line, end):
                right = next(numbers(line[equation.end() :], lang), None)
                between = line[equation.end() : equation.end() + right.start] if right else None
                if right is None or between is None or not _BEFORE_NUMBER.fullmatch(between):
                    break
                value, end = right.value, equation.end() + right.end
            return value
    return None


def reference_number(reference: object) -> Decimal | None:
    """A reference of a data set: a JSON number, or digits in the English convention ("5,600"), in any script."""
    if isinstance(reference, bool) or not isinstance(reference, int | float | str):
        return None
    if not isinstance(reference, str):
        return Decimal(str(reference))
    found = list(numbers(plain(reference.strip()), "en"))
    return found[0].value if len(found) == 1 else None
