"""Rows that are drawn: gaussian, xavier, and from the distribution of the old rows, by dimension or in full.

A row's draw depends on the seed, the matrix and its own id only, so it is the same whatever else is added (the full
gaussian multiplies blocks of draws, so there up to rounding).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from seatools.embed_init.array_place import NUMPY, Place
from seatools.embed_init.old_rows import chunks


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


def diagonal_rows(ids: list[int], mean: np.ndarray, deviation: np.ndarray, seed: int, stream: int) -> np.ndarray:
    """[len(ids), columns] fp32: row = mean + deviation * z, z ~ N(0, I), each dimension by itself.

    `mean`, `deviation` [columns] fp64 of the old rows. What WECHSEL (arXiv 2112.06598) and FOCUS (2305.14481) give
    tokens without auxiliary vectors.
    """
    rows = np.empty((len(ids), len(mean)), dtype=np.float32)
    for position, id in enumerate(ids):
        rows[position] = mean + deviation * _generator(seed, stream, id).standard_normal(len(mean))
    return rows


def multivariate_rows(
    ids: list[int], mean: np.ndarray, root: Any, seed: int, stream: int, place: Place = NUMPY
) -> np.ndarray:
    """[len(ids), columns] fp32: row = mean + R z, z ~ N(0, I), R R^T the covariance of the old rows.

    `mean` [columns] fp64; `root` [columns, columns] fp64 at `place`, see `covariance_root`. Hewitt 2021 ("Initializing
    new word embeddings"), not scaled down; transformers' mean_resizing takes 1e-9 of the covariance, which is the mean.
    """
    rows = np.empty((len(ids), len(mean)), dtype=np.float32)
    start = 0
    for chunk in chunks(np.asarray(ids), 2 * len(mean)):
        draws = np.stack([_generator(seed, stream, int(id)).standard_normal(len(mean)) for id in chunk])
        rows[start : start + len(chunk)] = mean + place.get(place.put(draws) @ root.T)
        start += len(chunk)
    return rows


def covariance_root(covariance: Any, num_rows: int, place: Place = NUMPY) -> Any:
    """R with R R^T = `covariance` [columns, columns] fp64, at `place`, made of `num_rows` rows.

    Cholesky's lower triangle; where there are too few rows for full rank, or rounding says so, the symmetric root by
    eigenvalues. Both are unique, so numpy and CUDA give the same rows. Cost: columns^3 / 3 (4,096: 1.8 CPU seconds).
    """
    xp = place.xp
    if num_rows > len(covariance):
        try:
            return xp.linalg.cholesky(covariance)
        except (np.linalg.LinAlgError, RuntimeError):  # torch's LinAlgError is a RuntimeError
            pass
    values, vectors = xp.linalg.eigh(covariance)
    # What rounding leaves of the zeros of a covariance without full rank would come out as its square root.
    noise = float(values[-1]) * len(covariance) * np.finfo(np.float64).eps
    return (vectors * xp.sqrt(xp.where(values > noise, values, 0.0))) @ vectors.T


def _generator(seed: int, stream: int, id: int) -> np.random.Generator:
    """`stream` is 0 for the embedding, 1 for the head."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, stream, id])))
