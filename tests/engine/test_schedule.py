"""Learning rates: warm-up, decay, and their ends."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatools.engine.schedule import KINDS, learning_rate
from seatools.streams.errors import UsageError


def rates(kind: str, **changes: Any) -> list[float]:
    values: dict[str, Any] = dict(peak=2.0, warmup_steps=3, total_steps=13, final_ratio=0.1, kind=kind)
    values.update(changes)
    return [learning_rate(step, **values) for step in range(values["total_steps"] + 1)]


@pytest.mark.parametrize("kind", KINDS)
def test_warm_up_rises_evenly_to_the_peak(kind: str) -> None:
    assert rates(kind)[:4] == [0.5, 1.0, 1.5, 2.0]


@pytest.mark.parametrize("kind", KINDS)
def test_without_warm_up_the_first_step_has_the_peak(kind: str) -> None:
    assert rates(kind, warmup_steps=0)[0] == 2.0


@pytest.mark.parametrize("kind", ["cosine", "linear", "wsd"])
def test_decay_ends_at_the_final_ratio_one_step_after_the_last(kind: str) -> None:
    values = rates(kind)
    assert values[13] == pytest.approx(0.2)
    assert values[12] > 0.2


def test_half_way_cosine_and_linear_are_at_their_middle() -> None:
    assert rates("cosine")[8] == pytest.approx(1.1)
    assert rates("linear")[8] == pytest.approx(1.1)
    assert rates("cosine", final_ratio=0.0)[3 + 2] == pytest.approx(1 + math.cos(math.pi / 5))


def test_constant_stays_at_the_peak() -> None:
    assert rates("constant")[3:] == [2.0] * 11


def test_wsd_stays_at_the_peak_until_its_decay_share() -> None:
    values = rates("wsd", warmup_steps=2, total_steps=20, final_ratio=0.0, decay_share=0.2)
    assert values[2:17] == [2.0] * 15
    assert values[17:] == pytest.approx([1.5, 1.0, 0.5, 0.0])


@given(
    st.sampled_from(KINDS), st.integers(0, 30), st.integers(1, 40), st.floats(0, 1), st.floats(0.01, 1)
)  # fmt: skip
def test_it_rises_then_never_rises_again_and_stays_in_its_bounds(
    kind: str, warmup_steps: int, total_steps: int, final_ratio: float, decay_share: float
) -> None:
    values = [
        learning_rate(
            step, peak=1.0, warmup_steps=warmup_steps, total_steps=total_steps, kind=kind,
            final_ratio=final_ratio, decay_share=decay_share,
        )
        for step in range(total_steps + 3)
    ]  # fmt: skip
    warm = values[:warmup_steps]
    assert all(0 < a < b for a, b in pairwise(warm))
    after = values[warmup_steps:]
    assert all(a >= b - 1e-12 for a, b in pairwise(after))
    assert all(final_ratio - 1e-12 <= value <= 1.0 for value in after)


@pytest.mark.parametrize(
    "wrong",
    [
        dict(kind="step"),
        dict(peak=-1.0),
        dict(peak=math.nan),
        dict(final_ratio=1.5),
        dict(decay_share=0.0),
        dict(total_steps=0),
        dict(warmup_steps=-1),
    ],
)  # fmt: skip
def test_values_that_make_no_schedule_are_usage_errors(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        learning_rate(0, **{"peak": 1.0, "warmup_steps": 1, "total_steps": 10, **wrong})
