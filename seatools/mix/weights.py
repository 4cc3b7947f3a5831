"""Weights that come from the sizes of the sources instead of the command line.

Temperature: p_i proportional to n_i^(1/T) (Devlin et al. 2019 for multilingual BERT, where the exponent S = 1/T is
0.7; Conneau et al. 2020, XLM-R, 0.3): T = 1 keeps the natural proportions, T without bound makes them equal.
UniMax: equal shares of a budget, where a source that its epochs do not let fill its share gives what it cannot use to
the others (Chung et al., ICLR 2023, algorithm 1); exact, in fractions. Where sources were split (`--balance lang`)
the sources share the budget so, and the parts of each its share. n_i is in the unit of the mix.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

DIGITS = 6
"""Temperature weights are rounded to so many significant digits, so that the schedule does not hang on one machine's
pow()."""


def temperature_weights(sizes: Sequence[int], temperature: float) -> list[Fraction]:
    """[sources] n_i^(1/T), the largest 1. `sizes` are greater than 0, and so is the temperature."""
    largest = max(sizes)
    return [Fraction(f"{(size / largest) ** (1 / temperature):.{DIGITS - 1}e}") for size in sizes]


def unimax_weights(capacities: Sequence[int], budget: int | Fraction) -> list[Fraction]:
    """[sources] units of each in a budget of so many, none above its capacity (epochs times size, in units).

    Their sum is the budget, or that of the capacities where the budget is more.
    """
    weights = [Fraction(0)] * len(capacities)
    left = Fraction(budget)
    ascending = sorted(range(len(capacities)), key=lambda source: capacities[source])
    for rank, source in enumerate(ascending):
        weights[source] = min(Fraction(capacities[source]), left / (len(capacities) - rank))
        left -= weights[source]
    return weights


def unimax_part_weights(capacities: Sequence[Sequence[int]], budget: int) -> list[list[Fraction]]:
    """[sources][parts] units of each part: the sources fill the budget, and the parts of a source what it has of it."""
    shares = unimax_weights([sum(parts) for parts in capacities], budget)
    return [unimax_weights(parts, share) for parts, share in zip(capacities, shares, strict=True)]
