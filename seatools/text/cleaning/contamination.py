"""Documents that hold a piece of a benchmark: character n-grams of the test files, looked up in every document.

Texts are compared without spaces, punctuation and case (NFKC), so that a language without spaces is compared as
English is and a reformatted copy is found. A common run of 40 letters rejects, and one of 20 of which most are Han or
kana, whatever stands around it. GPT-3 took 13 words (8 to 13 by benchmark; Brown et al. 2020, appendix C), PaLM
8-grams: 40 letters are 8 English words. Measured on 14 pairs of unrelated sets of ../shared/data, among them FLORES
and XQuAD against th_thaigov and vi_wiki: no common run of 35, at 30 titles of ministries (24 of 742 documents); of
Chinese and Japanese none of 20, of 16 a name in two translations of one line. Memory: 12 bytes an n-gram of the tests.
Most of the time goes into picking the letters. What of a test row is a text: `texts_of_row`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

from seatools.streams.errors import SeaError
from seatools.streams.inputs import expand, shown
from seatools.streams.records import RecordReader
from seatools.text.cleaning.ngram_hashes import ngram_hashes
from seatools.text.cleaning.rejection import Rejection

NGRAM, NGRAM_IDEOGRAPHS = 40, 20
REASON = "contamination.v1"
_FILTER_BITS = 22
_NAMING_KEY = re.compile(
    r"(?:.*[_-])?(?:id|ids|uid|uuid|url|urls|uri|href|link|links|date|ds|time|timestamp|lang|language|dialect|locale"
    r"|license|licence|hash|sha256)",
    re.IGNORECASE,
)
_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]{0,30}://[!-~]+|(?<![a-zA-Z0-9])www\.[!-~]+")
_CODE_WORD = re.compile(r"(?=[!-~]*[\d_/\\:@=+]|[!-~]{40})[!-~]+")  # one word of ASCII that no language writes


class BenchmarkTexts:
    """The n-grams of test files. `num_short`: texts too short to be looked for; `num_texts`: all others."""

    def __init__(self, paths: list[str]) -> None:
        self.num_texts = self.num_short = 0
        self.places: list[str] = []
        """What a document is said to overlap with: "xquad/th.jsonl:12"."""
        found: dict[int, tuple[list[np.ndarray], list[np.ndarray]]] = {NGRAM: ([], []), NGRAM_IDEOGRAPHS: ([], [])}
        for path in expand(paths):
            for record in RecordReader([path]):
                place = len(self.places)
                self.places.append(f"{shown(path)}:{record.line}")
                for text in set(texts_of_row(record.value)):
                    grams = _grams(text)
                    for n, (hashes, _) in grams.items():
                        found[n][0].append(hashes)
                        found[n][1].append(np.full(len(hashes), place, np.uint32))
                    self.num_texts += bool(grams)
                    self.num_short += not grams
        if not self.num_texts:
            raise SeaError(
                f"{', '.join(paths)}: no text of {NGRAM} letters to look for", fix="--decontaminate names test files"
            )
        self._tables = {n: _Table(hashes, places) for n, (hashes, places) in found.items() if hashes}

    def check(self, text: str) -> Rejection | None:
        """What the document shares with a benchmark: how many n-grams, and the line where the first of them stands."""
        num_found = 0
        first: tuple[int, int] | None = None  # (where in the document, place)
        for n, (hashes, starts) in _grams(text).items():
            if n not in self._tables:
                continue
            at, places = self._tables[n].find(hashes)
            num_found += len(at)
            if len(at):
                earliest = (int(starts[at[0]]), int(places[0]))
                first = earliest if first is None else min(first, earliest)
        return None if first is None else Rejection(REASON, num_found, 0, self.places[first[1]])


class _Table:
    """Sorted hashes, and the place of each; a filter of one bit a slot answers for most that are not there."""

    def __init__(self, hashes: list[np.ndarray], places: list[np.ndarray]) -> None:
        self.hashes, first = np.unique(np.concatenate(hashes), return_index=True)
        self.places = np.concatenate(places)[first]
        self.filter = np.zeros(1 << _FILTER_BITS, bool)
        self.filter[self._slots(self.hashes)] = True

    @staticmethod
    def _slots(hashes: np.ndarray) -> np.ndarray:
        return hashes >> np.uint64(64 - _FILTER_BITS)

    def find(self, hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """([found] int64, [found] uint32): which of `hashes` are in the table, in their order, and their places."""
        maybe = np.flatnonzero(self.filter[self._slots(hashes)])
        at = np.minimum(np.searchsorted(self.hashes, hashes[maybe]), len(self.hashes) - 1)
        is_found = self.hashes[at] == hashes[maybe]
        return maybe[is_found], self.places[at[is_found]]


def texts_of_row(value: Any) -> Iterator[str]:
    """The texts of a test row, however deep: question, answers, passage, turns; not what only names or places it.

    Left out are fields by name (`id`, `url`, `link`, `date`, `ds`, `lang`, `dialect`, `license`, `timestamp` and their
    like, also as `wiki_url`), URLs inside a text, which is cut there, and strings of one ASCII word that has a digit or
    one of `_/\\:@=+`, or 40 characters: ids, dates, codes, file names. A document that cites the page of a question is
    thus not taken for one that holds the question.
    """
    if isinstance(value, str):
        if _CODE_WORD.fullmatch(value.strip()) is None:
            yield from (part for part in _URL.split(value) if part.strip())
    elif isinstance(value, dict):
        for key, item in value.items():
            if _NAMING_KEY.fullmatch(key) is None:
                yield from texts_of_row(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts_of_row(item)


def _grams(text: str) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """n -> (hashes [n-grams] uint64, where each begins among the letters [n-grams] int64), without empty ones.

    Letters are letters, marks and digits. An n-gram of NGRAM_IDEOGRAPHS counts if most of it is Han or kana; one of
    NGRAM if at most half is, for else a shorter one within it counts.
    """
    kept = _others().sub("", unicodedata.normalize("NFKC", text).casefold())
    codes = np.frombuffer(kept.encode("utf-32-le", "surrogatepass"), np.uint32)
    is_ideograph = (codes >= 0x3040) & (codes <= 0x9FFF) | (codes >= 0x20000)
    before = np.concatenate(([0], np.cumsum(is_ideograph, dtype=np.int64))) if is_ideograph.any() else None
    found = {}
    for n in (NGRAM, NGRAM_IDEOGRAPHS):
        if before is None:
            starts = np.arange(len(codes) - n + 1 if n == NGRAM else 0)
        else:
            most = 2 * (before[n:] - before[:-n]) > n if len(codes) >= n else np.empty(0, bool)
            starts = np.flatnonzero(most if n == NGRAM_IDEOGRAPHS else ~most)
        if len(starts):
            hashes = ngram_hashes(codes, n)
            found[n] = (hashes if len(starts) == len(hashes) else hashes[starts]), starts
    return found


@cache
def _others() -> Any:
    import regex

    return regex.compile(r"[^\p{L}\p{M}\p{N}]+")
