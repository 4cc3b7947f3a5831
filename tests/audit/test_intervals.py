"""Bootstrap intervals against their definition and against theory."""

from __future__ import annotations

import numpy as np
import pytest

from seatools.audit.intervals import GROUPS, RESAMPLES, SEED, GroupedSums, Value, ratio


def sums(values):
    grouped = GroupedSums()
    grouped.add(np.asarray(values))
    return grouped


def test_the_interval_is_that_of_a_plain_loop():
    generator = np.random.default_rng(3)
    above, below = generator.integers(1, 50, 30), generator.integers(1, 20, 30)
    draw = np.random.default_rng(SEED)
    drawn = []
    for _ in range(RESAMPLES):
        chosen = draw.integers(0, 30, 30)
        drawn.append(above[chosen].sum() / below[chosen].sum())
    found = ratio(sums(above), sums(below))
    assert found.value == above.sum() / below.sum()
    assert found.stderr == pytest.approx(np.std(drawn, ddof=1))
    assert (found.ci_low, found.ci_high) == pytest.approx(tuple(np.percentile(drawn, (2.5, 97.5))))


def test_it_covers_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(5)
    covered = 0
    for _ in range(100):
        below = generator.poisson(20, 200) + 1
        above = generator.poisson(3 * below)
        found = ratio(sums(above), sums(below))
        covered += found.ci_low <= 3 <= found.ci_high
    assert 85 <= covered <= 100


def test_groups_of_documents_give_nearly_the_interval_of_documents():
    generator = np.random.default_rng(7)
    above = generator.exponential(5.0, 3 * GROUPS)
    found = ratio(sums(above), sums(np.ones(3 * GROUPS)))
    assert found.stderr == pytest.approx(above.std() / np.sqrt(3 * GROUPS), rel=0.1)


def test_the_same_ratio_everywhere_has_no_spread():
    found = ratio(sums([2, 4, 6]), sums([1, 2, 3]))
    assert found == Value(2.0, 0.0, 2.0, 2.0)


def test_adding_in_parts_is_adding_at_once():
    apart = sums([1, 2])
    apart.add(np.array([3]))
    assert np.array_equal(apart.resampled(), sums([1, 2, 3]).resampled())


def test_no_interval_where_there_is_none():
    assert ratio(sums([3]), sums([2])) == Value(1.5)
    assert ratio(sums([3, 4]), sums([2])) == Value(3.5)
    assert ratio(sums([3]), sums([0])) is None
