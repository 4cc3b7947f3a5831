"""The learning rate as a pure function of the step, so that a resumed run needs nothing but its step number.

Steps count from 0; the value for step s is used by the (s+1)-th update. Warm-up is linear and reaches the peak at
step `warmup_steps`; no step of it has rate 0. Decay would reach peak * final_ratio at step `total_steps`, one after
the last, so that with final_ratio 0 the last step still learns.
wsd (warm-up, stable, decay; MiniCPM, arXiv 2404.06395): the peak until the last `decay_share` of steps, then linear.
"""

from __future__ import annotations

import math

from seatools.streams.errors import UsageError

KINDS = ("cosine", "linear", "wsd", "constant")


def learning_rate(
    step: int,
    *,
    peak: float,
    warmup_steps: int,
    total_steps: int,
    kind: str = "cosine",
    final_ratio: float = 0.0,
    decay_share: float = 0.2,
) -> float:
    """The learning rate of `step` (from 0). Steps at or beyond `total_steps` get the final rate.

    Raises UsageError for values that make no schedule.
    """
    if kind not in KINDS:
        raise UsageError(f"unknown schedule {kind!r}", fix=f"use one of {', '.join(KINDS)}")
    if not (peak >= 0 and math.isfinite(peak)):
        raise UsageError(f"the learning rate must be a number from 0 up, not {peak}")
    if not (0 <= final_ratio <= 1 and 0 < decay_share <= 1):
        raise UsageError(f"final ratio {final_ratio} must be in [0, 1], decay share {decay_share} in (0, 1]")
    if step < 0 or warmup_steps < 0 or total_steps < 1:
        raise UsageError(f"step {step}, {warmup_steps} warm-up steps, {total_steps} steps: none may be negative")
    if step < warmup_steps:
        return peak * (step + 1) / (warmup_steps + 1)
    if kind == "constant":
        return peak
    start = warmup_steps
    if kind == "wsd":
        start = max(warmup_steps, total_steps - round(decay_share * total_steps))
    progress = min(1.0, max(0, step - start) / (total_steps - start)) if total_steps > start else 1.0
    if kind == "wsd" and step < start:
        progress = 0.0
    share = 0.5 * (1 + math.cos(math.pi * progress)) if kind == "cosine" else 1 - progress
    return peak * (final_ratio + (1 - final_ratio) * share)
