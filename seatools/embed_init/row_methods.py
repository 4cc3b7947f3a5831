"""The values of new rows, method by method, in fp32: subword-mean, mean, gaussian, xavier.

Every row depends on the matrix, the seed and its own id only, so it is the same whatever else is added. Only the rows
that a method reads are converted; memory is the new rows in fp32 and one chunk of old ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from seatools.embed_init.float_bits import to_float32

CHUNK_BYTES = 32 << 20


def mean_row(stored: np.ndarray, dtype: str, ids: list[int]) -> np.ndarray:
    """[columns] fp32: the mean of the rows `ids`, summed in fp64. Avg_all of Hewitt 2021 and SambaLingo (2404.05829).

    `ids` are those that the old tokenizer uses, special tokens among them; padding rows are not.
    """
    total = np.zeros(stored.shape[1], dtype=np.float64)
    for chunk in chunks(np.asarray(ids), stored.shape[1]):
        total += to_float32(stored[chunk], dtype).sum(axis=0, dtype=np.float64)
    return (total / len(ids)).astype(np.float32)


def subword_mean_rows(
    stored: np.ndarray, dtype: str, pieces: list[list[int]], fallback: np.ndarray
) -> np.ndarray:  # fmt: skip
    """[len(pieces), columns] fp32: the mean of each token's old pieces, summed in fp64.

    SambaLingo (2404.05829, section 4.3, avg_subwords); FVT (Gee et al. 2022). A token without pieces gets `fallback`.
    """
    rows = np.empty((len(pieces), stored.shape[1]), dtype=np.float32)
    for position, ids in enumerate(pieces):
        rows[position] = to_float32(stored[ids], dtype).mean(axis=0, dtype=np.float64) if ids else fallback
    return rows


def gaussian_rows(ids: list[int], columns: int, std: float, seed: int, stream: int) -> np.ndarray:
    """[len(ids), columns] fp32 from N(0, std^2); transformers draws new rows so with `initializer_range`."""
    rows = np.empty((len(ids), columns), dtype=np.float32)
    for position, id in enumerate(ids):
        rows[position] = _generator(seed, stream, id).standard_normal(columns) * std
    return rows


def xavier_rows(ids: list[int], columns: int, num_rows: int, seed: int, stream: int) -> np.ndarray:
    """[len(ids), columns] fp32 from U(-b, b), b = sqrt(6 / (num_rows + columns)): Glorot & Bengio 2010, equation 16."""
    bound = math.sqrt(6 / (num_rows + columns))
    rows = np.empty((len(ids), columns), dtype=np.float32)
    for position, id in enumerate(ids):
        rows[position] = _generator(seed, stream, id).uniform(-bound, bound, columns)
    return rows


def _generator(seed: int, stream: int, id: int) -> np.random.Generator:
    """`stream` is 0 for the embedding, 1 for the head."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, stream, id])))


def chunks(ids: np.ndarray, columns: int) -> Iterator[np.ndarray]:
    """`ids` in runs whose rows take about `CHUNK_BYTES` in fp32."""
    step = max(1, CHUNK_BYTES // (4 * columns))
    for start in range(0, len(ids), step):
        yield ids[start : start + step]
