"""Distinct words as base token ids, in flat arrays: what counting hands to the learner and to the proof.

A word is what no base token crosses: a pre-token, or a run of `▁` with the letters after it. Negative symbols are no
tokens: `BREAK` ends a word, and `-(2 + code point)` is a character that the base spells in bytes or not at all.
Memory: 4 bytes a symbol and 16 a word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

BREAK = -1


def unknown(char: str) -> int:
    """The symbol of a character that has no token."""
    return -2 - ord(char)


def known_char(symbol: int) -> str:
    """The character of an unknown symbol."""
    return chr(-2 - symbol)


@dataclass
class Segments:
    """Words one after the other. `ids`: [symbols] int32; `offsets`: [words + 1] int64; word w is a slice of ids."""

    ids: np.ndarray
    offsets: np.ndarray

    @classmethod
    def of(cls, words: Sequence[Sequence[int]]) -> Segments:
        """From lists of symbols."""
        lengths = np.fromiter((len(word) for word in words), np.int64, len(words))
        ids = np.fromiter((id for word in words for id in word), np.int32, int(lengths.sum()))
        return cls(ids, np.concatenate([[0], np.cumsum(lengths)]))

    @classmethod
    def joined(cls, parts: Sequence[Segments]) -> Segments:
        """The words of all `parts`."""
        if not parts:
            return cls(np.zeros(0, np.int32), np.zeros(1, np.int64))
        starts = np.cumsum([0, *(len(part.ids) for part in parts[:-1])])
        offsets = [part.offsets[:-1] + start for part, start in zip(parts, starts, strict=True)]
        total = [sum(len(part.ids) for part in parts)]
        return cls(np.concatenate([part.ids for part in parts]), np.concatenate([*offsets, total]))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def word(self, number: int) -> tuple[int, ...]:
        """One word as a tuple."""
        return tuple(self.ids[self.offsets[number] : self.offsets[number + 1]].tolist())

    def every(self, step: int) -> Segments:
        """The first word and each `step`-th after it."""
        if step <= 1:
            return self
        chosen = np.arange(len(self)) % step == 0
        lengths = self.lengths
        return Segments(self.ids[np.repeat(chosen, lengths)], np.concatenate([[0], np.cumsum(lengths[chosen])]))

    def with_single(self, symbols: Mapping[int, int]) -> Segments:
        """The same with one symbol in place of those that some words have. `symbols`: number of the word -> symbol."""
        lengths = self.lengths
        numbers = np.array([number for number in symbols if lengths[number]], np.int64)
        chosen = np.zeros(len(self), bool)
        chosen[numbers] = True
        kept = ~np.repeat(chosen, lengths)
        kept[self.offsets[numbers]] = True
        ids = self.ids.copy()
        ids[self.offsets[numbers]] = [symbols[number] for number in numbers.tolist()]
        return Segments(ids[kept], np.concatenate([[0], np.cumsum(np.where(chosen, 1, lengths))]))

    @property
    def lengths(self) -> np.ndarray:
        """[words] symbols in each, breaks included."""
        return np.diff(self.offsets)

    def owners(self) -> np.ndarray:
        """[symbols] int32: the number of the word that each belongs to."""
        return np.repeat(np.arange(len(self), dtype=np.int32), self.lengths)


class Expansion:
    """New ids -> base ids, for flat arrays at once."""

    def __init__(self, base_ids: Mapping[int, Sequence[int]]) -> None:
        """`base_ids`: new token -> the base tokens that it stands for; all other ids stand for themselves."""
        size = max(base_ids, default=-1) + 1
        self._start = np.full(size, -1, np.int64)
        self._length = np.ones(size, np.int64)
        pool: list[int] = []
        for id, parts in base_ids.items():
            self._start[id], self._length[id] = len(pool), len(parts)
            pool.extend(parts)
        self._pool = np.array(pool or [0], np.int32)

    def lengths(self, ids: np.ndarray) -> np.ndarray:
        """[symbols] int64: how many base ids each stands for."""
        lengths = np.ones(len(ids), np.int64)
        inside = (ids >= 0) & (ids < len(self._length))
        lengths[inside] = self._length[ids[inside]]
        return lengths

    def words(self, words: Segments) -> Segments:
        """Words in the base's tokens."""
        ends = np.concatenate([[0], np.cumsum(self.lengths(words.ids))])
        return Segments(self(words.ids), ends[words.offsets])

    def __call__(self, ids: np.ndarray) -> np.ndarray:
        """The base ids of `ids`, both int32."""
        inside = (ids >= 0) & (ids < len(self._start))
        start = np.full(len(ids), -1, np.int64)
        start[inside] = self._start[ids[inside]]
        is_new = start >= 0
        if not is_new.any():
            return ids
        lengths = self.lengths(ids)
        ends = np.cumsum(lengths)
        inner = np.arange(int(ends[-1])) - np.repeat(ends - lengths, lengths)
        from_new = np.repeat(is_new, lengths)
        flat = np.repeat(ids, lengths)
        flat[from_new] = self._pool[(np.repeat(start, lengths) + inner)[from_new]]
        return flat
