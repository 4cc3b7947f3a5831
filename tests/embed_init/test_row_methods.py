"""The values of new rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from seatools.embed_init import row_methods
from seatools.embed_init.float_bits import to_float32
from seatools.embed_init.nearest_rows import nearest
from seatools.embed_init.row_methods import gaussian_rows, mean_row, subword_mean_rows, xavier_rows

TABLE = np.array([[1, 2], [3, 6], [100, 100], [5, 1]], dtype=np.float32)


def test_subword_mean_averages_the_pieces_repeats_counted() -> None:
    rows = subword_mean_rows(TABLE, "F32", [[0, 1], [1, 1, 3], []], np.float32([7, 8]))
    assert rows.tolist() == [[2, 4], [np.float32(11 / 3), np.float32(13 / 3)], [7, 8]]


def test_mean_leaves_rows_of_no_token_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_methods, "CHUNK_BYTES", 8)  # a row a chunk
    assert mean_row(TABLE, "F32", [0, 1, 3]).tolist() == [3, 3]


def test_bf16_rows_are_averaged_in_more_than_bf16() -> None:
    stored = np.array([[0x3F80], [0x3F81]], dtype=np.uint16)  # 1 and its upper neighbour, 1 + 2^-7
    assert subword_mean_rows(stored, "BF16", [[0, 1]], np.zeros(1))[0, 0] == 1 + 2**-8
    assert to_float32(stored, "BF16")[1, 0] == 1 + 2**-7


def test_gaussian_rows_have_the_spread_asked_for() -> None:
    rows = gaussian_rows(list(range(50)), 400, 0.02, seed=0, stream=0)
    assert abs(rows.mean()) < 0.001 and abs(rows.std() - 0.02) < 0.001


def test_xavier_rows_fill_their_bounds() -> None:
    bound = math.sqrt(6 / (1000 + 200))
    rows = xavier_rows(list(range(50)), 200, 1000, seed=0, stream=0)
    assert np.abs(rows).max() <= bound and rows.max() > 0.99 * bound and rows.min() < -0.99 * bound


@pytest.mark.parametrize(("method", "scale"), [(gaussian_rows, 1.0), (xavier_rows, 9)])
def test_a_random_row_depends_on_seed_matrix_and_id_alone(method: Any, scale: Any) -> None:
    row = method([9], 8, scale, 1, 0)[0]
    assert np.array_equal(method([5, 9], 8, scale, 1, 0)[1], row)
    for ids, seed, stream in (([8], 1, 0), ([9], 2, 0), ([9], 1, 1)):
        assert not np.array_equal(method(ids, 8, scale, seed, stream)[0], row)


def test_draws_do_not_depend_on_the_platform() -> None:
    assert gaussian_rows([600], 3, 1.0, 0, 0)[0].tolist() == [
        -0.6710697412490845,
        -0.42446690797805786,
        -0.4890318810939789,
    ]


def test_nearest_is_that_of_a_whole_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_methods, "CHUNK_BYTES", 3 * 4 * 8)  # 3 rows a chunk
    generator = np.random.default_rng(0)
    table, rows = generator.normal(size=(20, 8)).astype(np.float32), generator.normal(size=(5, 8)).astype(np.float32)
    table[4] = 0
    ids = [id for id in range(20) if id != 7]
    found, cosine = nearest(rows, table, "F32", ids)
    norms = np.linalg.norm(table, axis=1)
    norms[4] = np.inf
    whole = rows @ table.T / norms / np.linalg.norm(rows, axis=1)[:, None]
    whole[:, 7] = -2
    assert found.tolist() == whole.argmax(axis=1).tolist()
    assert np.allclose(cosine, whole.max(axis=1), atol=1e-6)
