"""Weights made from sizes: by temperature, and by filling a budget evenly."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatools.mix.weights import temperature_weights, unimax_weights

CAPACITIES = st.lists(st.integers(1, 10**6), min_size=1, max_size=12)


def test_temperature_by_hand():
    assert temperature_weights([1600, 100], 1) == [1, Fraction(1, 16)]
    assert temperature_weights([1600, 100], 2) == [1, Fraction(1, 4)]
    assert temperature_weights([100, 1600], 4) == [Fraction(1, 2), 1]
    assert temperature_weights([7, 1600], 1e9) == [Fraction(1), Fraction(1)]  # to six digits


@given(CAPACITIES, st.floats(0.2, 100))
def test_temperature_keeps_the_order_and_flattens(sizes, temperature):
    weights = temperature_weights(sizes, temperature)
    assert max(weights) == 1 and min(weights) > 0
    for (size, weight), (other, its) in zip(
        zip(sizes, weights, strict=True), zip(sizes[1:], weights[1:], strict=True), strict=False
    ):
        assert (size <= other) <= (weight <= its)
        assert float(weight / its) == pytest.approx((size / other) ** (1 / temperature), rel=1e-4)


def water_filling(capacities, budget):
    """The level to which every source is filled, found by bisection: sum of min(capacity, level) is the budget."""
    low, high = 0.0, float(max(capacities))
    for _ in range(200):
        level = (low + high) / 2
        low, high = (level, high) if sum(min(c, level) for c in capacities) < budget else (low, level)
    return [min(c, high) for c in capacities]


@given(CAPACITIES, st.integers(1, 10**7))
def test_unimax_is_water_filling(capacities, budget):
    weights = unimax_weights(capacities, budget)
    assert sum(weights) == min(budget, sum(capacities))
    assert [float(weight) for weight in weights] == pytest.approx(water_filling(capacities, budget), rel=1e-9)


def test_unimax_by_hand():
    # 100 for four sources: the one of 10 leaves 90 for three, the one of 20 leaves 70 for two.
    assert unimax_weights([10, 500, 20, 36], 100) == [10, 35, 20, 35]
    assert unimax_weights([10, 500, 20, 30], 100) == [10, 40, 20, 30]
    assert unimax_weights([3, 4], 10) == [3, 4]
