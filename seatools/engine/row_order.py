"""Which packed rows make up step s: a pure function of (seed, step), so that a resumed run replays nothing.

Epoch e visits all rows once in the order of a permutation keyed by (seed, e); steps take the endless concatenation
of epochs, `batch_size` rows at a time.
"""

from __future__ import annotations

import functools

import numpy as np


@functools.lru_cache(maxsize=2)
def _epoch_order(seed: int, epoch: int, num_rows: int) -> np.ndarray:
    return np.random.Generator(np.random.PCG64([seed, epoch])).permutation(num_rows)


def rows_of_step(step: int, *, batch_size: int, num_rows: int, seed: int) -> list[int]:
    """Row numbers of step `step` (from 1), `batch_size` of them."""
    first = (step - 1) * batch_size
    return [
        int(_epoch_order(seed, place // num_rows, num_rows)[place % num_rows])
        for place in range(first, first + batch_size)
    ]


def steps_for_epochs(epochs: float, *, batch_size: int, num_rows: int) -> int:
    """Steps that see every row at least `epochs` times (the last step rounds up)."""
    return max(1, -(-round(epochs * num_rows) // batch_size))
