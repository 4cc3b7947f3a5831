"""The option that an answer names: by its letter in any script (B, b, ข, ဃ, 2, ๒, Ｂ), or by its text.

strict: the answer is the label (alone, or before its own text), or the label stands right after the language's answer
tag, or the text of one option does. flexible: else the one label that is written as a label anywhere, "(B)" or "option
B", or the one option whose text occurs. Never the first capital: SeaExam's script reads "Answer: B" as A, and M3Exam's
compares "3" with a gold "๓" raw (research A1). Where two different options are offered none is taken.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from seatools.eval.answer_phrases import announcement, phrases, spelled, without_headers
from seatools.eval.number_formats import base_language, plain

FAMILIES = ("ABCDEFGHIJ", "กขคงจฉ", "ກຂຄງຈສ", "កខគឃងច", "ကခဂဃငစ", "甲乙丙丁戊己", "АБВГДЕ", "1234567890")
"""Labels by their place. Digits of every script are read as ASCII ones, circled and full-width ones too."""
_REACH = 2000  # characters after a tag in which its label or the option's text stands
_PLACE = {label: place for family in FAMILIES for place, label in enumerate(family)}
_LATIN = frozenset(FAMILIES[0] + FAMILIES[6])

# Possessive throughout: a thousand spaces after "Answer" are read once, not once for each way to divide them.
_OPEN = r"[\s\"'“‘`*_~:：=>—–-]*+(?:\\boxed\{|\\text\{|[(\[（【「『<]|\$)?+[\s*_]*+"
_CLOSED = r"[)\]）】」』}>.,:：、。．;!?*\"'”’`]"
# A label is no part of a word: no letter, mark or digit follows.
_MARKS = (  # of Thai, Lao, Burmese and Khmer: what makes a syllable of a consonant
    "\u0300-\u036f\u0e31\u0e33-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ecd"
    "\u102b-\u103e\u1056-\u109d\u17b6-\u17d3"
)
_ALONE = rf"(?![^\W_])(?![{_MARKS}])"
_OR = (
    r"or|and|/|&|,|หรือ|และ|กับ|atau|dan|utawa|lan|hoặc|hay|và|或者|或|和|与|、|ຫຼື|ແລະ|ឬ|និង|သို့မဟုတ်|နှင့်|o|at|oder|und|"
    r"ou|et|y|e|или|и|அல்லது|மற்றும்|au|na"
)  # fmt: skip
_VERBS = frozenset(
    ("is", "was", "are", "isn't", "cannot", "can't", "can", "could", "would", "must", "should", "may", "might")
)
_AFTER_A = frozenset(("because", "since", "as", "the", "which", "and", "or", "but"))


_CAPITAL = re.compile(rf"(?<![^\W_])(?<!')([{FAMILIES[0]}{FAMILIES[6]}])(?![\w'])")


_CYRILLIC = frozenset(("ru", "uk", "be", "bg", "sr", "mk", "kk", "ky", "mn", "tg"))
_LOOKALIKES = str.maketrans("АВСЕ", "ABCE")


class LetterRead(NamedTuple):
    """Index of the option, from 0; None: it names none, or more than one."""

    strict: int | None
    flexible: int | None


class _Offer(NamedTuple):
    """A label read at a place: the options that it offers (two: "A or B"), where it ends, whether a sign closed it."""

    options: frozenset[int]
    end: int
    closed: bool


def answer_letter(text: str, choices: Sequence[str], lang: str, labels: Sequence[str] | None = None) -> LetterRead:
    """The option of `choices` that an answer in `lang` names.

    Of several tags that offer different options the flexible reading takes the last, the strict one none.

    `labels`: what the prompt wrote before the options, where it is known: a digit then means an option's text in a
    prompt with letters, and its label in one with digits.
    """
    if base_language(lang) not in _CYRILLIC:  # Cyrillic А В С Е stand in Vietnamese exams for Latin letters
        text, choices = text.translate(_LOOKALIKES), [choice.translate(_LOOKALIKES) for choice in choices]
    text = without_headers(_labels_plain(text), lang)
    reader = _Reader([_text_key(choice) for choice in choices], lang, _digits_allowed(choices, labels))
    offers = reader.offered(text)
    if offers:
        return LetterRead(_only(frozenset().union(*offers)), _only(offers[-1]))
    return LetterRead(None, reader.written_anywhere(text))


def _labels_plain(text: str) -> str:
    """`plain`, and ⒷⓑＢ① as B, b, B, 1."""
    text = plain(text)
    return "".join(unicodedata.normalize("NFKC", sign) if "\u2460" <= sign <= "\u24ff" or "\uff01" <= sign <= "\uff5e"
                   else sign for sign in text)  # fmt: skip


def _text_key(text: str) -> str:
    """What two spellings of an option's text have in common: no case, no white space, no punctuation at the ends."""
    text = re.sub(r"\s+", "", plain(text).casefold())
    return text.strip(".,:;!?\"'`*_()[]{}。、，！？；：“”‘’「」។၊။") or text


def _digits_allowed(choices: Sequence[str], labels: Sequence[str] | None) -> bool:
    if labels is not None:
        return all(_labels_plain(label).strip("()[]. ").isdigit() for label in labels)
    return not any(re.fullmatch(r"[1-9]", _text_key(choice)) for choice in choices)


@lru_cache
def _filler(lang: str) -> str:
    return rf"(?:(?:{spelled([*phrases(lang, 'filler'), *phrases('en', 'filler')])})[\s:]*+){{0,2}}"


class _Reader:
    """The options of one question, by label and by text."""

    def __init__(self, texts: list[str], lang: str, digits: bool) -> None:
        self.texts, self.lang = texts, lang
        self.longest = max(map(len, texts), default=0)
        self.by_label = {
            label: place for label, place in _PLACE.items()
            if place < len(texts) and (digits or not label.isdigit())
        }  # fmt: skip
        label = "[" + "".join(self.by_label) + "".join(self.by_label).lower() + "]"
        self.label = re.compile(rf"({_OPEN}){_filler(lang)}({_OPEN})({label}){_ALONE}(\s?{_CLOSED})?+", re.IGNORECASE)
        self.more = re.compile(rf"[\s*_]*+(?:{_OR})[\s*_(]*+({label}){_ALONE}(?!')", re.IGNORECASE)
        self.written = re.compile(
            rf"(?:^|(?<=[\s*_(\[（【「\"'“]))(?:[(\[（【「]\s?({label})\s?[)\]）】」]|\*({label})\*|({label})(?=\)))|"
            rf"^[ \t]*({label})(?=[.:、．][ \t]|[.:、．]?$)|"
            rf"(?:{spelled([*phrases(lang, 'filler'), *phrases('en', 'filler')])})\s*[(*]*({label}){_ALONE}",
            re.IGNORECASE | re.MULTILINE,
        )

    def offered(self, text: str) -> list[frozenset[int]]:
        """The options that the answer offers outright: as a whole, or after each answer tag."""
        offers = self._tagged(text, self.lang)
        if not offers and base_language(self.lang) != "en":
            offers = self._tagged(text, "en")
        if offers:
            return offers
        body = text.strip()[:_REACH]
        by_text = self._by_text(body)
        if by_text is not None:
            return [frozenset({by_text})]
        offer = self._offer(body, at_start=True)
        return [] if offer is None else [self._with_its_text(body, offer)]

    def _tagged(self, text: str, lang: str) -> list[frozenset[int]]:
        offers = []
        for match in announcement(lang, "answer", "letter").finditer(text):
            rest = text[match.end() : match.end() + _REACH]
            by_text = self._by_text(rest.lstrip(" \t\r\n:*_").partition("\n")[0])
            offer = self._offer(rest)
            if offer is not None:
                offers.append(self._with_its_text(rest, offer))
            elif by_text is not None:
                offers.append(frozenset({by_text}))
        return offers

    def _offer(self, text: str, at_start: bool = False) -> _Offer | None:
        match = self.label.match(text)
        if match is None:
            return None
        label, closed = match[3], match[4] is not None or bool(re.search(r"[(\[（【「{]", match[1] + match[2]))
        rest = text[match.end() :]
        options = {self._place(label)}
        more = self.more.match(text, match.end(3)) or self.more.match(text, match.end())
        if more:
            options.add(self._place(more[1]))
        line_ends = not rest.strip(" \t*_").split("\n")[0]
        if not (closed or line_ends or more or self._plausible(label, rest, at_start)):
            return None
        return _Offer(frozenset(options), match.end(), closed)

    def _plausible(self, label: str, rest: str, at_start: bool = False) -> bool:
        """Whether a label that only a space ends is one: "B is right", "ข เพราะ", not "a dog", "A dog", "3 apples"."""
        following = re.match(r"\s*(\S*)", rest)
        word = following[1].lower().strip(",.") if following else ""
        own = self.texts[self._place(label)]
        if own and _text_key(rest.partition("\n")[0]).startswith(own):
            return True
        if label.upper() in _LATIN:
            if label.islower() or (at_start and word in _VERBS):  # "B is wrong, so ..."
                return False
            return label not in "AIАИ" or word in _AFTER_A | _VERBS or not word[:1].isascii()
        return not label.isdigit() and not at_start

    def _with_its_text(self, text: str, offer: _Offer) -> frozenset[int]:
        """ "B. Paris", where Paris is A's text, offers two."""
        line = text[offer.end :].lstrip(" \t").partition("\n")[0]
        other = self._by_text(line)
        return offer.options if other is None else offer.options | {other}

    def _by_text(self, text: str) -> int | None:
        """The option whose text is all of `text`."""
        if len(text) > 2 * self.longest + 40:
            return None
        key = _text_key(text)
        same = [place for place, own in enumerate(self.texts) if own == key]
        return same[0] if key and len(same) == 1 else None

    def _place(self, label: str) -> int:
        return self.by_label[label.upper()]

    def written_anywhere(self, text: str) -> int | None:
        """The one option of an answer that offers none outright: by a label written as one, a text, or a capital."""
        written = [next(label for label in match.groups() if label) for match in self.written.finditer(text)]
        if written:
            return _only(frozenset(map(self._place, written)))
        key = _text_key(text)
        inside = [place for place, own in enumerate(self.texts) if own and own in key]
        # Of "10" and "100" in "it is 100" the longer one is meant.
        most = [p for p in inside if not any(q != p and self.texts[p] in self.texts[q] for q in inside)]
        if most:
            return most[0] if len(most) == 1 else None
        capitals = [match for match in _CAPITAL.finditer(text) if match[1] in self.by_label]
        return _only(
            frozenset(
                self._place(match[1])
                for match in capitals
                if self._plausible(match[1], text[match.end() : match.end() + _REACH])
            )
        )


def _only(options: frozenset[int]) -> int | None:
    return next(iter(options)) if len(options) == 1 else None
