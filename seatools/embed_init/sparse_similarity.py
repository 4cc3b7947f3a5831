"""FOCUS (Dobler & de Melo 2023, arXiv 2305.14481): a new row as a sparse convex combination of rows of similar tokens.

For a new token a and the old tokens o that occur in the user's text: c_ao = cos(x_a, x_o) in an auxiliary space
(token_vectors.py), w_a = sparsemax(c_a), e_a = sum_o w_ao e_o. Memory: blocks of about 64 MB.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from seatools.embed_init.array_place import NUMPY, Place
from seatools.embed_init.combined_rows import Combination

_BLOCK_BYTES = 64 << 20


def sparsemax(scores: Any, place: Place = NUMPY) -> Any:
    """The point of the probability simplex nearest to each row of `scores` [rows, n] fp64, at `place`.

    Martins & Astudillo 2016: p_j = max(z_j - tau, 0) with sum p = 1. tau by Michelot's iteration: the
    elements above the threshold of those left are left, until none falls out, which is exact after finitely many steps.
    """
    xp = place.xp
    inside = scores > xp.amax(scores, axis=1, keepdims=True) - 1  # tau is at least the largest - 1
    while True:
        num = inside.sum(axis=1, keepdims=True)
        threshold = (xp.where(inside, scores, 0.0).sum(axis=1, keepdims=True) - 1) / num
        kept = inside & (scores > threshold)
        if bool((kept == inside).all()):
            return xp.where(kept, scores - threshold, 0.0)
        inside = kept


def similar_rows(new: np.ndarray, old: np.ndarray, old_ids: np.ndarray, place: Place = NUMPY) -> list[Combination]:
    """For each of the vectors `new` [new, d] the combination of rows `old_ids` [old] that its similarity to the
    vectors `old` [old, d] gives; weights above zero that sum to one."""
    found: list[Combination] = []
    others = place.put(_unit(old)).T
    step = max(1, _BLOCK_BYTES // (8 * len(old)))
    for start in range(0, len(new), step):
        weights = place.get(sparsemax(place.put(_unit(new[start : start + step])) @ others, place))
        for row in weights:
            used = np.flatnonzero(row)
            found.append(Combination(old_ids[used], row[used]))
    return found


def _unit(vectors: np.ndarray) -> np.ndarray:
    vectors = vectors.astype(np.float64)
    return vectors / np.sqrt(np.square(vectors).sum(axis=1, keepdims=True))
