"""Neighbours found by folded rows are those of a whole comparison, where they stand out."""

from __future__ import annotations

import numpy as np
import pytest

from seatools.embed_init import nearest_rows
from seatools.embed_init.nearest_rows import nearest


@pytest.mark.parametrize("columns", [8, 256, 300, 1024])
def test_folded_rows_find_the_neighbours_that_stand_out(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    table = random.normal(size=(3000, columns)).astype(np.float32)
    table[17] = 0
    ids = [id for id in range(3000) if id != 40]
    chosen = random.choice(ids, 50, replace=False)
    rows = table[chosen] * 3 + random.normal(size=(50, columns)).astype(np.float32)
    rows[5] = table[40] + 0.3 * table[41]  # the nearest is not among `ids`
    exact = nearest(rows, table, "F32", ids)
    monkeypatch.setattr(nearest_rows, "_EXACT", 0)
    monkeypatch.setattr("seatools.embed_init.old_rows.CHUNK_BYTES", 4 * 1024 * 300)
    found, cosines = nearest(rows, table, "F32", ids, likely=[[40, 41]] * 50)
    assert 40 not in found and 17 not in found
    assert np.array_equal(found, exact[0]) and np.allclose(cosines, exact[1], atol=1e-6)


def test_own_pieces_are_compared_whatever_the_folded_rows_say(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    table = random.normal(size=(3000, 512)).astype(np.float32)
    pieces = [random.integers(0, 3000, 16).tolist() for _ in range(40)]
    rows = np.stack([table[own].mean(axis=0) for own in pieces])  # cosines of a quarter
    exact = nearest(rows, table, "F32", list(range(3000)))
    monkeypatch.setattr(nearest_rows, "_EXACT", 0)
    found, cosines = nearest(rows, table, "F32", list(range(3000)), likely=pieces)
    assert np.array_equal(found, exact[0]) and np.allclose(cosines, exact[1], atol=1e-6)
    unit = table[found] / np.linalg.norm(table[found], axis=1, keepdims=True)
    assert np.allclose((rows / np.linalg.norm(rows, axis=1, keepdims=True) * unit).sum(axis=1), cosines, atol=1e-6)


def test_rows_of_zeros_have_a_neighbour_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest_rows, "_EXACT", 0)
    found, cosines = nearest(np.zeros((1, 8), np.float32), np.ones((3, 8), np.float32), "F32", [1, 2])
    assert found.tolist() == [1] and cosines.tolist() == [0]
