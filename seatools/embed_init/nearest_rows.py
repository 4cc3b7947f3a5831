"""For each new row the old row that points most nearly the same way: a look at what an initialisation did.

Cosine in fp32, the old rows read in chunks that all new rows are multiplied with; rows of zeros are no neighbours.
Cost: 2 * new * old * columns operations (4,000 new on 32,000 x 4,096: 12 s on two cores, measured).
"""

from __future__ import annotations

import numpy as np

from seatools.embed_init.float_bits import to_float32
from seatools.embed_init.row_methods import chunks


def nearest(rows: np.ndarray, stored: np.ndarray, dtype: str, ids: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """For each of `rows` fp32 [new, columns] the nearest row among `ids`: (id int64 [new], cosine float32 [new])."""
    best_id = np.full(len(rows), ids[0], dtype=np.int64)
    best = np.full(len(rows), -np.inf, dtype=np.float32)
    directions = _unit(rows)
    # Short chunks also bound the [new, chunk] products.
    for chunk in chunks(np.asarray(ids), max(stored.shape[1], len(rows))):
        block = to_float32(stored[chunk], dtype)
        cosines = directions @ _unit(block).T
        cosines[:, ~block.any(axis=1)] = -np.inf
        position = cosines.argmax(axis=1)
        value = cosines[np.arange(len(rows)), position]
        better = value > best
        best[better], best_id[better] = value[better], chunk[position[better]]
    return best_id, best


def _unit(rows: np.ndarray) -> np.ndarray:
    norms = np.sqrt(np.square(rows).sum(axis=1, keepdims=True))
    return rows / np.where(norms == 0, 1, norms)
