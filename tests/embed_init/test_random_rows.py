"""Drawn rows: their spread, and what a draw depends on."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from places import PLACES, TORCH_PLACES

from seatools.embed_init.array_place import Place
from seatools.embed_init.random_rows import (
    covariance_root,
    diagonal_rows,
    gaussian_rows,
    multivariate_rows,
    xavier_rows,
)

MEAN = np.linspace(-1, 1, 8)
SPREAD = np.linspace(0.1, 2, 8)
ROOT = np.tril(np.random.default_rng(3).normal(size=(8, 8)))

METHODS: dict[str, Callable[..., np.ndarray]] = {
    "gaussian": lambda ids, seed, stream: gaussian_rows(ids, 8, 1.0, seed, stream),
    "xavier": lambda ids, seed, stream: xavier_rows(ids, 8, 9, seed, stream),
    "diagonal": lambda ids, seed, stream: diagonal_rows(ids, MEAN, SPREAD, seed, stream),
    "multivariate": lambda ids, seed, stream: multivariate_rows(ids, MEAN, ROOT, seed, stream),
}


def test_gaussian_rows_have_the_spread_asked_for() -> None:
    rows = gaussian_rows(list(range(50)), 400, 0.02, seed=0, stream=0)
    assert abs(rows.mean()) < 0.001 and abs(rows.std() - 0.02) < 0.001


def test_xavier_rows_fill_their_bounds() -> None:
    bound = math.sqrt(6 / (1000 + 200))
    rows = xavier_rows(list(range(50)), 200, 1000, seed=0, stream=0)
    assert np.abs(rows).max() <= bound and rows.max() > 0.99 * bound and rows.min() < -0.99 * bound


def test_diagonal_rows_have_mean_and_spread_of_each_dimension() -> None:
    rows = diagonal_rows(list(range(5000)), MEAN, SPREAD, seed=0, stream=0)
    assert np.allclose(rows.mean(0), MEAN, atol=0.1) and np.allclose(rows.std(0), SPREAD, rtol=0.05)
    correlation = np.corrcoef(rows, rowvar=False) - np.eye(8)
    assert np.abs(correlation).max() < 0.06  # 4 / sqrt(5000): independent


def test_multivariate_rows_have_mean_and_covariance() -> None:
    rows = multivariate_rows(list(range(20_000)), MEAN, ROOT, seed=0, stream=0)
    assert np.allclose(rows.mean(0), MEAN, atol=0.08)
    covariance = ROOT @ ROOT.T
    assert np.allclose(np.cov(rows, rowvar=False), covariance, atol=0.04 * covariance.max())


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("num_rows", [100, 5])
def test_the_root_of_a_covariance_squares_to_it(place: Place, num_rows: int) -> None:
    """With 5 rows the covariance has rank 4 of 8, which Cholesky cannot take."""
    rows = np.random.default_rng(0).normal(size=(num_rows, 8))
    covariance = np.cov(rows, rowvar=False, bias=True)
    root = place.get(covariance_root(place.put(covariance), num_rows, place))
    assert np.allclose(root @ root.T, covariance, atol=1e-12)
    # The same root wherever it is computed, so the same draws.
    assert np.allclose(root, covariance_root(covariance, num_rows), atol=1e-7)


def test_a_covariance_of_identical_rows_draws_their_mean() -> None:
    root = covariance_root(np.zeros((8, 8)), 50)
    assert np.array_equal(multivariate_rows([1, 2], MEAN, root, 0, 0), np.float32([MEAN, MEAN]))


@pytest.mark.parametrize("place", TORCH_PLACES)
def test_multivariate_rows_are_those_of_numpy(place: Place) -> None:
    expected = multivariate_rows([3, 4, 5], MEAN, ROOT, 1, 0)
    assert np.allclose(multivariate_rows([3, 4, 5], MEAN, place.put(ROOT), 1, 0, place), expected, rtol=1e-6)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_random_row_depends_on_seed_matrix_and_id_alone(method: Callable[..., np.ndarray]) -> None:
    row = method([9], 1, 0)[0]
    assert np.array_equal(method([5, 9], 1, 0)[1], row)
    for ids, seed, stream in (([8], 1, 0), ([9], 2, 0), ([9], 1, 1)):
        assert not np.array_equal(method(ids, seed, stream)[0], row)


def test_draws_do_not_depend_on_the_platform() -> None:
    assert gaussian_rows([600], 3, 1.0, 0, 0)[0].tolist() == [
        -0.6710697412490845,
        -0.42446690797805786,
        -0.4890318810939789,
    ]
