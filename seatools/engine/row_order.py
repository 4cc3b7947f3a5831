"""Which packed rows make up step s: a pure function of (seed, step), so that a resumed run replays nothing.

Epoch e visits all rows once, in their own order or in that of a permutation keyed by (seed, e); steps take the
endless concatenation of epochs, `batch_size` rows at a time. The permutation is the argsort of raw PCG64 words, which
numpy keeps the same in every release (NEP 19), so that a run can be resumed after an upgrade.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np


@functools.lru_cache(maxsize=2)
def _epoch_order(seed: int, epoch: int, num_rows: int) -> np.ndarray:
    # The third word sets this stream apart from the one that shuffled the rows when they were packed.
    return np.argsort(np.random.PCG64([seed, epoch, 1]).random_raw(num_rows), kind="stable")


def rows_of_step(step: int, *, batch_size: int, num_rows: int, seed: int, shuffled: bool = True) -> list[int]:
    """Row numbers of step `step` (from 1), `batch_size` of them; not `shuffled`: row after row, epoch after epoch."""
    first = (step - 1) * batch_size
    if not shuffled:
        return [place % num_rows for place in range(first, first + batch_size)]
    return [
        int(_epoch_order(seed, place // num_rows, num_rows)[place % num_rows])
        for place in range(first, first + batch_size)
    ]


def micro_batches(rows: Sequence[int], micro: int, *, rank: int = 0, ranks: int = 1) -> list[list[int]]:
    """The rows of a step that rank `rank` of `ranks` reads, in micro-batches of at most `micro`.

    Row i goes to rank i modulo `ranks`, so that with any number of ranks the same rows make up the step. All ranks get
    the same number of micro-batches, for under FSDP each is a collective call; the last ones of a rank may be empty.
    """
    mine = list(rows[rank::ranks])
    number = -(-len(range(0, len(rows), ranks)) // micro)
    return [mine[first : first + micro] for first in range(0, number * micro, micro)]


def steps_for_epochs(epochs: float, *, batch_size: int, num_rows: int) -> int:
    """Steps that read `epochs` times as many rows as there are, or a little more: the last step is a whole one."""
    num_read = math.ceil(epochs * num_rows - 1e-6)  # 0.1 + 0.2 epochs of 10 rows are 3 rows
    return max(1, -(-num_read // batch_size))
