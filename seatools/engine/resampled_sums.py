"""The sums of the bootstrap: items drawn again as often as there are any, by counts and one matrix product.

A resample needs only how often each item is drawn, so [resamples, items] counts times [items, k] rows give all of them;
1,000 resamples of 1,000 items under 37 columns take 0.05 s. Draws are raw PCG64 words, which numpy fixes for ever,
`integers` it does not (NEP 19). One seed draws the same places of any array of as many items: so pairs are kept. numpy
only: scoring and choosing load no torch.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

_ENTRIES = 1 << 18  # counts held at a time: 2 MB, which caches hold


def seeded_words(seed: str) -> Any:
    """The random words of a seed (numpy's PCG64, for `random_raw`)."""
    return np.random.PCG64(int.from_bytes(hashlib.sha256(seed.encode()).digest()[:16], "little"))


def resampled_sums(rows: np.ndarray, *, resamples: int, seed: str) -> np.ndarray:
    """`rows` [items, k] -> [resamples, k] float64: sums over items drawn with replacement, as many as there are."""
    words, count = seeded_words(seed), len(rows)
    columns = np.ascontiguousarray(rows, dtype=np.float64)
    sums = np.empty((resamples, columns.shape[1]))
    step = max(1, _ENTRIES // count)
    for first in range(0, resamples, step):
        drawn = min(step, resamples - first)
        raw = words.random_raw(drawn * count) >> np.uint64(32)
        places = ((raw * np.uint64(count)) >> np.uint64(32)).astype(np.int64)  # uniform to 2^-32 * items
        places += np.repeat(np.arange(drawn, dtype=np.int64) * count, count)
        counts = np.bincount(places, minlength=drawn * count).reshape(drawn, count)
        sums[first : first + drawn] = counts.astype(np.float64) @ columns
    return sums
