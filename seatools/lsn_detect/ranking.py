"""The best of many by score, with ties by position, so that a selection is the same everywhere.

By partition: O(n), 8 ms for 680,000 neurons where a stable sort takes 150.
"""

from __future__ import annotations

import numpy as np


def best(scores: np.ndarray, num: int) -> np.ndarray:
    """Bool [n]: the `num` highest of `scores` [n]; of equal ones the first. One of -inf is never taken."""
    num = min(num, int(np.count_nonzero(scores > -np.inf)))
    if num == 0:
        return np.zeros(len(scores), dtype=bool)
    last = np.partition(scores, len(scores) - num)[len(scores) - num]
    taken = scores > last
    taken[np.flatnonzero(scores == last)[: num - np.count_nonzero(taken)]] = True
    return taken
