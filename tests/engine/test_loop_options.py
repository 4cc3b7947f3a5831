"""What makes no run is refused at the door."""

from __future__ import annotations

from typing import Any

import pytest

from seatools.engine.loop_options import LoopOptions, check_training_dtype, warmup_steps
from seatools.streams.errors import UsageError


@pytest.mark.parametrize(
    "wrong",
    [
        dict(max_steps=0), dict(lr=0.0), dict(lr=1.0), dict(lr=float("nan")), dict(clip=0.0), dict(clip=float("nan")),
        dict(save_every=-1), dict(keep=0), dict(schedule="step"), dict(save_minutes=-1), dict(eval_every=-1),
        dict(save_minutes=float("nan")),
    ],
)  # fmt: skip
def test_options_that_make_no_run_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        LoopOptions(**({"max_steps": 1, "lr": 0.1} | wrong))


@pytest.mark.parametrize(("warmup", "steps"), [(0, 0), (0.01, 10), (0.5, 500), (1, 1), (30, 30)])
def test_warm_up_is_a_share_below_one_and_a_number_from_one(warmup: float, steps: int) -> None:
    assert warmup_steps(warmup, 1000) == steps


@pytest.mark.parametrize("warmup", [-0.1, float("nan"), float("inf")])
def test_a_warm_up_that_is_neither_is_refused(warmup: float) -> None:
    with pytest.raises(UsageError):
        warmup_steps(warmup, 10)


def test_fp16_is_refused_for_training() -> None:
    for dtype in ("auto", "fp32", "bf16"):
        check_training_dtype(dtype)
    with pytest.raises(UsageError, match="fp16 is not for training"):
        check_training_dtype("fp16")
    with pytest.raises(UsageError, match="unknown dtype"):
        check_training_dtype("float32")
