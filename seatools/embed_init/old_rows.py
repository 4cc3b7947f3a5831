"""What all old rows say together: their mean, spread, covariance and norms, read in chunks and summed in fp64.

`ids` are always the rows that the model was trained with: those that the old tokenizer uses, special tokens among
them; padding rows are not, nor, with `--reinit FILE`, rows of tokens that no text ever gave. Memory: one chunk, and
the covariance, [columns, columns] fp64 (512 MB at 8,192 columns).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from seatools.embed_init.array_place import Place
from seatools.streams.float_bits import to_float32

CHUNK_BYTES = 32 << 20


def chunks(ids: np.ndarray, columns: int) -> Iterator[np.ndarray]:
    """`ids` in runs whose rows take about `CHUNK_BYTES` in fp32."""
    step = max(1, CHUNK_BYTES // (4 * columns))
    for start in range(0, len(ids), step):
        yield ids[start : start + step]


def mean_row(stored: np.ndarray, dtype: str, ids: list[int]) -> np.ndarray:
    """[columns] fp32: the mean of the rows `ids`. Avg_all of Hewitt 2021 and SambaLingo (arXiv 2404.05829)."""
    return _mean(stored, dtype, ids).astype(np.float32)


def mean_and_deviation(stored: np.ndarray, dtype: str, ids: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """([columns], [columns]) fp64: mean and standard deviation (divided by n) of each column over the rows `ids`."""
    mean = _mean(stored, dtype, ids)
    squares = np.zeros_like(mean)
    for chunk in chunks(np.asarray(ids), stored.shape[1]):
        squares += np.square(to_float32(stored[chunk], dtype) - mean).sum(axis=0)
    return mean, np.sqrt(squares / len(ids))


def mean_and_covariance(stored: np.ndarray, dtype: str, ids: list[int], place: Place) -> tuple[np.ndarray, Any]:
    """([columns] fp64, [columns, columns] fp64 at `place`): mean and covariance (divided by n) of the rows `ids`."""
    mean = _mean(stored, dtype, ids)
    total = place.put(np.zeros((len(mean), len(mean))))
    for chunk in chunks(np.asarray(ids), stored.shape[1]):
        centred = place.put(to_float32(stored[chunk], dtype) - mean)
        total += centred.T @ centred
    total /= len(ids)
    return mean, total


def mean_norm(stored: np.ndarray, dtype: str, ids: list[int]) -> float:
    """The mean L2 norm of the rows `ids`."""
    total = 0.0
    for chunk in chunks(np.asarray(ids), stored.shape[1]):
        total += float(row_norms(to_float32(stored[chunk], dtype)).sum())
    return total / len(ids)


def row_norms(values: np.ndarray) -> np.ndarray:
    """[rows] fp64: the L2 norm of each row of `values`."""
    return np.sqrt(np.square(values, dtype=np.float64).sum(axis=1))


def with_norm(values: np.ndarray, norm: float) -> np.ndarray:
    """`values` fp32 [rows, columns] with each row scaled to the L2 norm `norm` (`--norm-match`); zeros stay zeros."""
    norms = row_norms(values)
    scale = np.divide(norm, norms, out=np.ones_like(norms), where=norms > 0)
    return (values * scale[:, None]).astype(np.float32)


def _mean(stored: np.ndarray, dtype: str, ids: list[int]) -> np.ndarray:
    total = np.zeros(stored.shape[1], dtype=np.float64)
    for chunk in chunks(np.asarray(ids), stored.shape[1]):
        total += to_float32(stored[chunk], dtype).sum(axis=0, dtype=np.float64)
    return total / len(ids)
