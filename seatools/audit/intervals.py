"""Ratios of sums over documents with their bootstrap intervals (Efron 1979; percentiles of 1,000 resamples).

Documents are drawn again with replacement, the same ones for every column, so that a ratio of two languages keeps the
pairing of parallel sentences. Beyond 4,096 documents, sums over 4,096 interleaved groups of them are drawn instead,
which bounds memory (32 MB) and changes an interval by about 1 %. Cost: 40 ms once a number of documents, then 1 ms.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

GROUPS = 4096
RESAMPLES = 1000
SEED = 0
_LEVELS = (2.5, 97.5)


class GroupedSums:
    """Sums of one quantity over documents, kept so that they can be drawn again."""

    def __init__(self) -> None:
        self.num_docs = 0
        self._sums = np.zeros(GROUPS)
        self._drawn: np.ndarray | None = None

    def add(self, values: np.ndarray) -> None:
        """`values`: one a document ([docs], any number type), in the order of all languages' documents."""
        groups = (self.num_docs + np.arange(len(values))) % GROUPS
        self._sums += np.bincount(groups, values, GROUPS)
        self.num_docs += len(values)
        self._drawn = None

    def documents(self) -> GroupedSums:
        """As many documents, each counted as one."""
        ones = GroupedSums()
        ones.add(np.ones(self.num_docs))
        return ones

    @property
    def total(self) -> float:
        return float(self._sums.sum())

    def resampled(self) -> np.ndarray:
        """[RESAMPLES] float64: the total of each resample."""
        if self._drawn is None:
            size = min(self.num_docs, GROUPS)
            self._drawn = _draws(size) @ self._sums[:size]
        return self._drawn


@lru_cache(maxsize=2)
def _draws(size: int) -> np.ndarray:
    """[RESAMPLES, size] float64: how often each of `size` groups is drawn."""
    generator = np.random.default_rng(SEED)
    return np.stack([
        np.bincount(generator.integers(0, size, size), minlength=size).astype(np.float64) for _ in range(RESAMPLES)
    ])  # fmt: skip


@dataclass(frozen=True)
class Value:
    """One measured value; the interval is None where none is defined."""

    value: float
    stderr: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None

    def less(self, amount: float) -> Value:
        """The value and its interval, `amount` less."""
        low, high = (None if bound is None else bound - amount for bound in (self.ci_low, self.ci_high))
        return Value(self.value - amount, self.stderr, low, high)


def ratio(above: GroupedSums, below: GroupedSums) -> Value | None:
    """The ratio of the totals with its 95 % interval; None if `below` is nothing.

    Both must be of the same number of documents, else (and with one document) there is no interval.
    """
    if not below.total:
        return None
    value = above.total / below.total
    if above.num_docs != below.num_docs or above.num_docs < 2:
        return Value(value)
    sums = below.resampled()
    drawn = above.resampled()[sums > 0] / sums[sums > 0]
    low, high = np.percentile(drawn, _LEVELS)
    return Value(value, float(drawn.std(ddof=1)), float(low), float(high))
