"""Statistics of the old rows, against whole-matrix numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from places import PLACES

from seatools.embed_init import old_rows
from seatools.embed_init.array_place import Place
from seatools.embed_init.nearest_rows import nearest
from seatools.embed_init.old_rows import mean_and_covariance, mean_and_deviation, mean_norm, mean_row, with_norm

TABLE = np.array([[1, 2], [3, 6], [100, 100], [5, 1]], dtype=np.float32)


@pytest.fixture(autouse=True)
def three_rows_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(old_rows, "CHUNK_BYTES", 3 * 4 * 8)


def _random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_mean_leaves_other_rows_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(old_rows, "CHUNK_BYTES", 8)  # a row a chunk
    assert mean_row(TABLE, "F32", [0, 1, 3]).tolist() == [3, 3]


def test_deviation_is_numpys() -> None:
    table, ids = _random(20, 8), [id for id in range(20) if id != 7]
    mean, deviation = mean_and_deviation(table, "F32", ids)
    assert np.allclose(mean, table[ids].mean(0, dtype=np.float64), atol=1e-12)
    assert np.allclose(deviation, table[ids].astype(np.float64).std(0), atol=1e-12)


@pytest.mark.parametrize("place", PLACES)
def test_covariance_is_numpys(place: Place) -> None:
    table, ids = _random(20, 8), [id for id in range(20) if id != 7]
    mean, covariance = mean_and_covariance(table, "F32", ids, place)
    expected = np.cov(table[ids].astype(np.float64), rowvar=False, bias=True)
    assert np.allclose(place.get(covariance), expected, atol=1e-13)
    assert np.allclose(mean, table[ids].mean(0, dtype=np.float64))


def test_norms() -> None:
    table = np.array([[3, 4], [0, 1], [9, 9]], dtype=np.float32)
    assert mean_norm(table, "F32", [0, 1]) == 3
    assert with_norm(np.float32([[0, 5], [6, 8], [0, 0]]), 3.0).tolist() == [
        [0, 3],
        [np.float32(1.8), np.float32(2.4)],
        [0, 0],
    ]


@pytest.mark.parametrize("place", PLACES)
def test_nearest_is_that_of_a_whole_comparison(place: Any) -> None:
    table, rows = _random(20, 8), np.random.default_rng(1).normal(size=(5, 8)).astype(np.float32)
    table[4] = 0
    ids = [id for id in range(20) if id != 7]
    found, cosine = nearest(rows, table, "F32", ids, place)
    norms = np.linalg.norm(table, axis=1)
    norms[4] = np.inf
    whole = rows @ table.T / norms / np.linalg.norm(rows, axis=1)[:, None]
    whole[:, 7] = -2
    assert found.tolist() == whole.argmax(axis=1).tolist()
    assert np.allclose(cosine, whole.max(axis=1), atol=1e-6)
