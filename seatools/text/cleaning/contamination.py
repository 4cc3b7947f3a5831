"""Documents that hold a piece of a benchmark: character n-grams of the test files, looked up in every document.

Texts are compared without spaces, punctuation and case (NFKC), so that a language without spaces is compared as
English is and a reformatted copy is found. A common run of 40 letters (20 where Han or kana are most) rejects. GPT-3
took 13 words (8 to 13 by benchmark; Brown et al. 2020, appendix C), PaLM 8-grams: 40 letters are 8 English words.
Measured on 14 pairs of unrelated sets of ../shared/data, among them FLORES and XQuAD against th_thaigov and vi_wiki:
no common run of 35, at 30 titles of ministries (24 of 742 documents); for Chinese and Japanese none of 15.
Memory: 12 bytes an n-gram of the tests. Cost: 25 times that of parsing the JSON (orjson), most of it picking letters.
"""

from __future__ import annotations

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
                for text in set(_strings(record.value)):
                    codes, n = _letters(text)
                    hashes = ngram_hashes(codes, n)
                    if len(hashes):
                        found[n][0].append(hashes)
                        found[n][1].append(np.full(len(hashes), place, np.uint32))
                    self.num_texts += bool(len(hashes))
                    self.num_short += not len(hashes)
        if not self.num_texts:
            raise SeaError(
                f"{', '.join(paths)}: no text of {NGRAM} letters to look for", fix="--decontaminate names test files"
            )
        self._tables = {n: _Table(hashes, places) for n, (hashes, places) in found.items() if hashes}

    def check(self, text: str) -> Rejection | None:
        """What the document shares with a benchmark: how many n-grams, and the line where the first of them stands."""
        codes, n = _letters(text)
        table = self._tables.get(n)
        if table is None:
            return None
        places = table.places_of(ngram_hashes(codes, n))
        return Rejection(REASON, len(places), 0, self.places[places[0]]) if len(places) else None


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

    def places_of(self, hashes: np.ndarray) -> np.ndarray:
        """[found] uint32: the places of those that are in the table, in the order of the document."""
        maybe = hashes[self.filter[self._slots(hashes)]]
        at = np.minimum(np.searchsorted(self.hashes, maybe), len(self.hashes) - 1)
        return self.places[at[self.hashes[at] == maybe]]


def _strings(value: Any) -> Iterator[str]:
    """Every string of a record, however deep: question, answers, passage, turns."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


def _letters(text: str) -> tuple[np.ndarray, int]:
    """Letters, marks and digits as code points, [letters] uint32, and the n for them."""
    kept = _others().sub("", unicodedata.normalize("NFKC", text).casefold())
    codes = np.frombuffer(kept.encode("utf-32-le", "surrogatepass"), np.uint32)
    ideographs = (codes >= 0x3040) & (codes <= 0x9FFF) | (codes >= 0x20000)
    return codes, NGRAM_IDEOGRAPHS if 2 * int(ideographs.sum()) > len(codes) else NGRAM


@cache
def _others() -> Any:
    import regex

    return regex.compile(r"[^\p{L}\p{M}\p{N}]+")
