"""The bootstrap of bits per byte, against the loop that it replaces."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest

from seatools.engine import resampled_sums
from seatools.lsn_detect.bootstrap import beyond_control, bits_per_byte_samples, estimate, selectivity


def figures(texts: int, runs: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(texts)
    return rng.random((runs, texts)) * 100, rng.integers(20, 300, texts).astype(np.float64)


def by_loop(nats: np.ndarray, num_bytes: np.ndarray, resamples: int, seed: str) -> list[list[float]]:
    """Text by text, in exact sums."""
    words = np.random.PCG64(int.from_bytes(hashlib.sha256(seed.encode()).digest()[:16], "little"))
    texts = len(num_bytes)
    draws = [range(texts)]
    draws += [[(int(words.random_raw()) >> 32) * texts >> 32 for _ in range(texts)] for _ in range(resamples)]
    return [
        [math.fsum(run[k] for k in draw) / math.log(2) / math.fsum(num_bytes[k] for k in draw) for run in nats]
        for draw in draws
    ]


@pytest.mark.parametrize("texts", [1, 2, 7, 100])
def test_samples_are_those_of_the_loop(texts):
    nats, num_bytes = figures(texts)
    found = bits_per_byte_samples(nats, num_bytes, resamples=40, seed="0 lines")
    np.testing.assert_allclose(found, by_loop(nats, num_bytes, 40, "0 lines"), rtol=1e-12)


def test_memory_is_bounded_without_changing_a_draw(monkeypatch):
    nats, num_bytes = figures(50)
    whole = bits_per_byte_samples(nats, num_bytes, resamples=30, seed="x")
    monkeypatch.setattr(resampled_sums, "_ENTRIES", 170)
    np.testing.assert_allclose(bits_per_byte_samples(nats, num_bytes, resamples=30, seed="x"), whole, rtol=1e-13)


def test_one_seed_draws_the_same_texts_of_two_languages():
    nats, num_bytes = figures(60)
    kwargs = {"resamples": 50, "seed": "0 lines"}
    first, second = (bits_per_byte_samples(nats * scale, num_bytes * scale, **kwargs) for scale in (1, 3))
    np.testing.assert_allclose(first, second, rtol=1e-12)
    other = bits_per_byte_samples(nats, num_bytes, resamples=50, seed="0 lines th")
    assert np.abs(other[1:] - first[1:]).min() > 0
    np.testing.assert_array_equal(other[0], first[0])


def test_the_interval_is_as_wide_as_the_linearised_error_bar():
    from seatools.eval.figures import ratio_stderr

    nats, num_bytes = figures(400)
    for run, samples in zip(nats, bits_per_byte_samples(nats, num_bytes, resamples=4000, seed="0").T, strict=True):
        value, stderr = run.sum() / math.log(2) / num_bytes.sum(), ratio_stderr(run / math.log(2), num_bytes)
        found = estimate(samples)
        assert found.value == pytest.approx(value, rel=1e-12)
        assert found.high - found.low == pytest.approx(2 * 1.96 * stderr, rel=0.08)


def test_differences_are_paired():
    nats, num_bytes = figures(100, runs=1)
    both = np.concatenate([nats, nats + 0.01 * num_bytes * math.log(2)])
    samples = bits_per_byte_samples(both, num_bytes, resamples=200, seed="0")
    found = estimate(samples[:, 1] - samples[:, 0])
    assert found == pytest.approx((0.01, 0.01, 0.01), rel=1e-9)  # every text costs as much more, so nothing varies


def test_the_interval_cuts_the_same_number_off_both_ends():
    samples = np.concatenate([[0.5], np.random.default_rng(0).permutation(np.arange(1.0, 1001))])
    assert estimate(samples) == (0.5, 25, 976)
    samples[samples > 900] = np.inf
    assert estimate(samples) == (0.5, 25, math.inf)


@pytest.mark.parametrize("draws", [2, 3, 10])
def test_of_random_sets_one_in_forty_is_beyond_random(draws):
    rng = np.random.default_rng(draws)
    beyond = 0
    for trial in range(1500):
        changes = rng.normal(0.02, 0.01, draws + 1)  # the set is one more draw of the same; texts do not matter
        samples = beyond_control(np.full(401, changes[0]), np.tile(changes[1:], (401, 1)), seed=f"{trial}")
        assert samples[0] == pytest.approx(changes[0] - changes[1:].mean())
        beyond += estimate(samples).low > 0
    assert 0.014 < beyond / 1500 < 0.04


def test_of_one_draw_the_difference_is_all_there_is():
    own, control = np.array([0.3, 0.2, 0.4]), np.array([[0.1], [0.05], [0.2]])
    np.testing.assert_allclose(beyond_control(own, control, seed=""), [0.2, 0.15, 0.2])


@pytest.mark.parametrize(
    ("own", "others", "expected"),
    [(0.3, 0.1, 3), (0.3, 0, math.inf), (0.3, -0.1, math.inf), (0, 0, 0), (-0.2, 0.1, 0), (-0.2, -0.1, 0)],
)
def test_selectivity_counts_gains_as_no_harm(own, others, expected):
    assert selectivity(np.array([own]), np.array([others]))[0] == pytest.approx(expected)
