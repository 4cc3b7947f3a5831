"""Answers that no judge should see, each kind by a flag of its own and counted under its reason.

Language and script by the tiers of `sea mix` (text/cleaning/language_tiers.py), only where the record names its
language. Repetition is the share of 10-character windows that stood before in the same answer: Thai and English alike,
0.02 for prose, above 0.5 for a loop. A refusal is dropped unless the record says `"refuse": true`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seatools.judge.pairs import lang_of
from seatools.streams.errors import UsageError
from seatools.streams.records import Record
from seatools.text.cleaning.exact_duplicates import exact_key
from seatools.text.cleaning.language_tiers import LanguageTier
from seatools.text.cleaning.ngram_hashes import ngram_hashes
from seatools.text.refusals import refuses

NGRAM = 10


@dataclass(frozen=True, kw_only=True)
class FilterOptions:
    """Which filters are on."""

    lang_check: str | None = None
    """The tier that says in which language an answer is: script, cld2 or fasttext:FILE."""
    max_length_ratio: float | None = None
    """Most that the longer answer of a pair may have of the shorter one's characters."""
    max_repetition: float | None = None
    """Largest `repeated_share` of an answer."""
    drop_duplicates: bool = False
    """Drop an answer that an earlier record has had."""
    drop_refusals: bool = False
    """Drop an answer that refuses, unless the record says that refusing is right."""

    def __post_init__(self) -> None:
        if self.max_length_ratio is not None and not self.max_length_ratio >= 1:
            raise UsageError("--max-length-ratio is longer / shorter, at least 1")
        if self.max_repetition is not None and not 0 <= self.max_repetition <= 1:
            raise UsageError("--max-repetition is a share, from 0 to 1")


class AnswerFilter:
    """The filters, with what they have to remember. Records are to be shown in their order."""

    def __init__(self, options: FilterOptions) -> None:
        self.options = options
        self._tier = LanguageTier(options.lang_check) if options.lang_check else None
        self._seen: dict[bytes, str] = {}
        self.num_without_lang = 0
        """Records whose answers' language was not looked at."""

    def usable(self, record: Record) -> tuple[list[int], list[tuple[str, int]]]:
        """(indices of the answers that pass, (reason, index) of those that do not)."""
        good: list[int] = []
        bad: list[tuple[str, int]] = []
        if self._tier is not None and lang_of(record) is None:
            self.num_without_lang += 1
        for index, answer in enumerate(record.value["responses"]):
            reason = self._reason(answer, record)
            if reason is None:
                good.append(index)
            else:
                bad.append((reason, index))
        return good, bad

    def _reason(self, answer: str, record: Record) -> str | None:
        options, lang = self.options, lang_of(record)
        if not answer.strip():
            return "empty answer"
        if "\0" in answer:  # a model may write one, and no record of preferences may hold it
            return "nul"
        if self._tier is not None and lang is not None and not self._tier.agrees(self._tier.identify(answer), lang):
            return "another language"
        if options.max_repetition is not None and repeated_share(answer) > options.max_repetition:
            return "repetition"
        if options.drop_refusals and record.value.get("refuse") is not True and refuses(answer, lang or "en"):
            return "refusal"
        if options.drop_duplicates:
            first = self._seen.setdefault(exact_key(answer), record.where)
            if first != record.where:
                return "answer of another record"
        return None

    def too_unequal(self, first: str, second: str) -> bool:
        """Whether one answer of a pair is too long beside the other, in characters."""
        if self.options.max_length_ratio is None:
            return False
        sizes = sorted((len(first.strip()), len(second.strip())))
        return sizes[1] > self.options.max_length_ratio * sizes[0]


def repeated_share(text: str) -> float:
    """The share of 10-character windows of a text that stood before in it; 0 for a text with fewer than two."""
    codes = np.frombuffer(text.strip().encode("utf-32-le", "surrogatepass"), np.uint32)
    hashes = ngram_hashes(codes, NGRAM)
    return 1 - len(set(hashes.tolist())) / len(hashes) if len(hashes) > 1 else 0.0
