"""sparsemax and what FOCUS makes of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from places import PLACES

from seatools.embed_init import sparse_similarity
from seatools.embed_init.array_place import Place
from seatools.embed_init.sparse_similarity import similar_rows, sparsemax


def _by_sorting(z: np.ndarray) -> np.ndarray:
    """Algorithm 1 of Martins & Astudillo 2016."""
    ordered = np.sort(z)[::-1]
    sums = np.cumsum(ordered)
    k = np.arange(1, len(z) + 1)
    last = int(k[1 + k * ordered > sums].max())
    return np.maximum(z - (sums[last - 1] - 1) / last, 0)


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=12))
def test_sparsemax_is_the_published_algorithm(scores: list[float]) -> None:
    z = np.array(scores)
    found = sparsemax(z[None])[0]
    assert np.allclose(found, _by_sorting(z), atol=1e-12)
    assert abs(found.sum() - 1) < 1e-12 and (found >= 0).all()


def test_sparsemax_is_the_nearest_point_of_the_simplex() -> None:
    """No other point of the simplex, near or far, is nearer."""
    generator = np.random.default_rng(0)
    z = generator.normal(size=6)
    found = sparsemax(z[None])[0]
    for scale in (1e-3, 0.1, 1):
        others = found + scale * (generator.dirichlet(np.ones(6), size=2000) - found)
        assert (np.square(others - z).sum(axis=1) >= np.square(found - z).sum() - 1e-12).all()


@pytest.mark.parametrize("place", PLACES)
def test_rows_are_independent_and_the_same_everywhere(place: Place) -> None:
    z = np.random.default_rng(1).normal(size=(7, 50))
    found = place.get(sparsemax(place.put(z), place))
    assert np.allclose(found, [_by_sorting(row) for row in z], atol=1e-12)


@pytest.mark.parametrize("place", PLACES)
def test_similar_rows_by_hand(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """cos = (1, 0.6, 0): tau = (1.6 - 1) / 2, weights 0.7 and 0.3; lengths do not matter."""
    monkeypatch.setattr(sparse_similarity, "_BLOCK_BYTES", 8 * 3)  # one row a block
    old = np.array([[5, 0], [0.6, 0.8], [0, 1]], dtype=np.float32)
    first, second = similar_rows(np.float32([[2, 0], [0, 3]]), old, np.array([10, 20, 30]), place)
    assert first.ids.tolist() == [10, 20] and np.allclose(first.weights, [0.7, 0.3], atol=1e-7)
    assert second.ids.tolist() == [20, 30] and np.allclose(second.weights, [0.4, 0.6], atol=1e-7)
    assert first.divisor == 1
