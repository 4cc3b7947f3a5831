"""Which neighbours spell a piece that is known already: asked for millions of pairs, answered by hashes."""

from __future__ import annotations

import numpy as np


class KnownPieces:
    """Which pairs of symbols spell a known piece, for many pairs at once: by a polynomial hash modulo 2^64.

    A false hit costs a look-up of the string, so it cannot give a wrong answer; two equal strings always hit.
    """

    _BASE = 0x9E3779B97F4A7C15 | 1

    def __init__(self, pieces: dict[int, str], joins: dict[str, int]) -> None:
        size = max(pieces, default=0) + 1
        self._hash = np.zeros(size, np.uint64)
        self._power = np.ones(size, np.uint64)
        for id, piece in pieces.items():
            self._set(id, piece)
        self._sorted = np.sort(np.fromiter((self._of(piece)[0] for piece in joins), np.uint64, len(joins)))
        self._tail = np.zeros(0, np.uint64)

    @classmethod
    def _of(cls, piece: str) -> tuple[int, int]:
        value, power = 0, 1
        for char in piece:
            value = (value * cls._BASE + ord(char) + 1) & 0xFFFFFFFFFFFFFFFF
            power = power * cls._BASE & 0xFFFFFFFFFFFFFFFF
        return value, power

    def _set(self, id: int, piece: str) -> None:
        if id >= len(self._hash):
            more = np.zeros(max(1024, id + 1 - len(self._hash)), np.uint64)
            self._hash, self._power = np.concatenate([self._hash, more]), np.concatenate([self._power, more + 1])
        self._hash[id], self._power[id] = self._of(piece)

    def add(self, id: int, piece: str) -> None:
        """A new known piece."""
        self._set(id, piece)
        self._tail = np.sort(np.append(self._tail, self._hash[id]))
        if len(self._tail) > 256:
            self._sorted = np.union1d(self._sorted, self._tail)
            self._tail = self._tail[:0]

    def spelled_by(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """[pairs] bool: true where the concatenation is known (or, hardly ever, its hash is)."""
        spelled = self._hash[left] * self._power[right] + self._hash[right]
        found = np.zeros(len(spelled), bool)
        for known in (self._sorted, self._tail):
            if len(known):
                found |= known[np.minimum(np.searchsorted(known, spelled), len(known) - 1)] == spelled
        return found
