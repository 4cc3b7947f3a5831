"""McNemar by enumeration, Holm by definition, and the table of smallest differences in the research notes."""

from __future__ import annotations

import itertools
import math

import pytest

from seatools.eval.paired_tests import holm, mcnemar, smallest_difference


@pytest.mark.parametrize("n", range(0, 11))
def test_mcnemar_is_the_enumeration_of_all_outcomes(n: int) -> None:
    outcomes = [sum(flips) for flips in itertools.product((0, 1), repeat=n)]
    for only_a in range(n + 1):
        as_far = sum(abs(2 * count - n) >= abs(2 * only_a - n) for count in outcomes)
        assert mcnemar(only_a, n - only_a) == as_far / len(outcomes)


def test_mcnemar_known_values() -> None:
    assert mcnemar(5, 15) == pytest.approx(0.04138946533203125, abs=1e-15)  # R: binom.test(5, 20)
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(0, 2000) == 2.0**-1999 if 2.0**-1999 else mcnemar(0, 2000) == 0.0
    assert mcnemar(4000, 3500) == mcnemar(3500, 4000) < 1e-7


def test_holm_by_definition() -> None:
    # R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, None, 0.9]) == [1.0, None, 1.0]
    assert holm([0.02, None]) == [0.02, None]
    assert holm([]) == []


@pytest.mark.parametrize(
    ("n", "accuracy", "unpaired", "paired"),
    [
        (250, 0.65, 8.4, (4.8, 6.2)),
        (500, 0.65, 5.9, (3.4, 4.4)),
        (900, 0.65, 4.4, (2.5, 3.3)),
        (2163, 0.65, 2.8, (1.6, 2.1)),
    ],
)
def test_smallest_differences_of_the_research_notes(
    n: int, accuracy: float, unpaired: float, paired: tuple[float, float]
) -> None:
    of_two = math.sqrt(2 * accuracy * (1 - accuracy) / n)  # models on items of their own; below: on the same ones
    assert 100 * smallest_difference(of_two) == pytest.approx(unpaired, abs=0.06)
    found = [100 * smallest_difference(math.sqrt(share / n)) for share in (0.15, 0.25)]  # of which so many differ
    assert found == pytest.approx(paired, abs=0.06)
