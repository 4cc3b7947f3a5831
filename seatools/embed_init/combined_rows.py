"""Rows that are weighted sums of old rows: of a token's own pieces here; of other tokens in focus.py and omp.

Only the rows that are asked for are read. A row depends on the matrix and its own pieces only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from seatools.streams.float_bits import to_float32


class Combination(NamedTuple):
    """row = sum_i weights[i] * old[ids[i]] / divisor."""

    ids: Sequence[int] | np.ndarray
    weights: np.ndarray
    """[len(ids)] float64."""
    divisor: float = 1.0


def _ends(num: int, position: int) -> np.ndarray:
    weights = np.zeros(num)
    weights[position] = 1
    return weights


PIECE_WEIGHTS: dict[str, Callable[[int], np.ndarray]] = {
    "subword-mean": np.ones,
    "first-piece": lambda num: _ends(num, 0),
    "last-piece": lambda num: _ends(num, -1),
    "weighted-first": lambda num: np.arange(num, 0, -1.0),
    "weighted-last": lambda num: np.arange(1.0, num + 1),
}
"""Method -> the weights of a token's n pieces, in order; see `piece_combination`."""


def piece_combination(method: str, pieces: list[int]) -> Combination:
    """How `method` makes a token of its n old `pieces` p_1 .. p_n: row = sum_i w_i old[p_i] / sum_i w_i, with

    * subword-mean: w_i = 1. SambaLingo (arXiv 2404.05829, section 4.3, avg_subwords); FVT (Gee et al. 2022).
    * first-piece, last-piece: w = 1 for that piece, 0 for others. EEVE (2402.14714) for heads and embeddings.
    * weighted-first: w_i = n + 1 - i; weighted-last: w_i = i. mergekit's weighted_mean, which by its own comment means
      the last piece for the embedding and the first for the head, and has them the other way round in its code.
    """
    weights = PIECE_WEIGHTS[method](len(pieces))
    used = np.flatnonzero(weights)
    return Combination([pieces[i] for i in used], weights[used], float(weights.sum()))


def combined_rows(
    stored: np.ndarray, dtype: str, combinations: Sequence[Combination | None], fallback: np.ndarray
) -> np.ndarray:
    """[len(combinations), columns] fp32, summed in fp64; None gives `fallback` [columns]."""
    rows = np.empty((len(combinations), stored.shape[1]), dtype=np.float32)
    for position, combination in enumerate(combinations):
        if combination is None:
            rows[position] = fallback
            continue
        ids, weights, divisor = combination
        old = to_float32(stored[np.asarray(ids)], dtype)
        rows[position] = (old * weights[:, None]).sum(axis=0, dtype=np.float64) / divisor
    return rows
