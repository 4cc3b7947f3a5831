"""Some documents of one language, laid out so that words, clusters and tokens are positions in one buffer.

`data` holds the documents' UTF-8 with one space before each and after the last: where a tokenizer puts its dummy prefix
there is a byte to compare it with. Cost: 20 ns a character.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from seatools.streams.errors import SeaError
from seatools.text.graphemes import Characters
from seatools.text.piece_table import HEAD
from seatools.text.scripts import writes_spaces

_SEPARATOR = "\0"
_SAMPLE = 20_000  # characters that decide whether words are spaced


@dataclass(frozen=True)
class Spans:
    """Words (or syllables) as byte positions in `data`, in order."""

    starts: np.ndarray
    """[words] int64."""
    ends: np.ndarray
    """[words] int64, one past the last byte."""
    per_doc: np.ndarray
    """[docs] int64."""


class TextBatch:
    """Errors: SeaError for a NUL character, UnicodeEncodeError for a lone surrogate."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = list(texts)
        joined = _SEPARATOR.join(["", *self.texts, ""])
        self.is_ascii = joined.isascii()
        self.num_characters = np.fromiter(map(len, self.texts), np.int64, len(self.texts))
        """[docs] int64."""
        self._separators = np.concatenate(([0], np.cumsum(self.num_characters + 1)))
        self._characters = Characters(joined, self._separators)
        data = np.frombuffer(bytearray(joined.encode() + bytes(HEAD)), np.uint8)
        bounds = np.flatnonzero(data[:-HEAD] == ord(_SEPARATOR))
        if len(bounds) != len(self._separators):
            raise SeaError("a text holds a NUL character", fix="is it binary, or cut off by a crash?")
        data[bounds] = ord(" ")
        self.data = data
        """[bytes] uint8, HEAD zero bytes at the end."""
        self.begins = bounds[:-1] + 1
        """[docs] int64: where each document begins in `data`; its separator is before it."""
        self.num_bytes = np.diff(bounds) - 1
        """[docs] int64."""

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def is_spaced(self) -> bool:
        """Whether the script puts spaces between words, by the first 20,000 characters."""
        return writes_spaces("".join(self.texts)[:_SAMPLE])

    @cached_property
    def num_clusters(self) -> np.ndarray:
        """[docs] int64: grapheme clusters."""
        return self._per_doc(np.flatnonzero(self._characters.begins_cluster())) - 1

    @cached_property
    def num_words(self) -> np.ndarray:
        """[docs] int64: what `str.split` gives."""
        return self._per_doc(self._word_edges[::2])

    @cached_property
    def words(self) -> Spans:
        """What `str.split` gives, as spans."""
        return self.spans(self._word_edges[::2], self._word_edges[1::2])

    @cached_property
    def _word_edges(self) -> np.ndarray:
        # The joined text begins and ends with white space: first character, one past the last, and so on.
        space = self._characters.is_space
        return np.flatnonzero(space[1:] != space[:-1]) + 1

    def spans(self, firsts: np.ndarray, ends: np.ndarray) -> Spans:
        """Spans of `data` from positions of characters in the joined text, where document d begins at
        `character_begins[d]`."""
        if self.is_ascii:
            return Spans(firsts, ends, self._per_doc(firsts))
        return Spans(self._byte_begins[firsts], self._byte_begins[ends], self._per_doc(firsts))

    @cached_property
    def _byte_begins(self) -> np.ndarray:
        lengths = self._characters.num_bytes
        return np.cumsum(lengths, dtype=np.int64) - lengths

    @property
    def character_begins(self) -> np.ndarray:
        """[docs] int64: where each document begins in the joined text, in characters."""
        return self._separators[:-1] + 1

    def _per_doc(self, positions: np.ndarray) -> np.ndarray:
        """[docs] int64: how many of the characters at ascending `positions` each document holds, its separator too."""
        return np.diff(np.searchsorted(positions, self._separators))
