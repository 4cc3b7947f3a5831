"""The forgetting gauge: how much worse the model has become at the language it came with.

Measured as the relative rise of that language's bits per byte on held-out text over step 0 (0.05: five per cent more
bits for the same text). Over the limit it warns, once each time it crosses, or stops the run; the loop saves before it
lets the stop through, so that nothing is lost and a run with more English in its mix can go on from there. The
baseline is in metrics.jsonl as the evaluation of step 0, so a resumed run measures against the same one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import orjson

from seatools.engine.run_folder import EVAL_KIND
from seatools.streams.errors import CheckFailed, SeaError, UsageError
from seatools.streams.messages import Messages


@dataclass(frozen=True, kw_only=True)
class ForgettingOptions:
    """What is watched, and what happens when it is forgotten."""

    lang: str
    """A name of --eval-data: the source language."""
    limit: float = 0.05
    """The largest relative rise of its bits per byte."""
    policy: Literal["warn", "stop"] = "warn"

    def __post_init__(self) -> None:
        if not 0 < self.limit < math.inf:
            raise UsageError(f"the limit of forgetting is {self.limit}; it must be positive", fix="0.05 is 5 %")
        if self.policy not in ("warn", "stop"):
            raise UsageError(f"unknown policy of forgetting {self.policy!r}", fix="warn or stop")


class Forgotten(CheckFailed):
    """The limit is crossed under the policy "stop". `figures` are the evaluation's, to be logged by whoever catches."""

    def __init__(self, what: str, *, figures: Mapping[str, Any], fix: str | None = None) -> None:
        super().__init__(what, fix=fix)
        self.figures = dict(figures)


def relative_rise(bits_per_byte: float, baseline: float) -> float:
    """0.05 where the text takes five per cent more bits than at the baseline; negative where it takes fewer."""
    return bits_per_byte / baseline - 1.0


def read_baseline(metrics: Path, lang: str) -> float | None:
    """Bits per byte of `lang` in the evaluation of step 0 of a metrics.jsonl; None where it has none."""
    if not metrics.exists():
        return None
    with open(metrics, "rb") as stream:
        for line in stream:
            try:
                row = orjson.loads(line)
                if row.get("kind") == EVAL_KIND and row["step"] == 0:
                    value = row[lang]["bits_per_byte"]
                    return float(value) if type(value) in (int, float) else None
            except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
                continue  # cut off by a crash, or an evaluation of other languages
    return None


class ForgettingGauge:
    """`see` each evaluation; the first (or `baseline`, of a resumed run) is what later ones are held against."""

    def __init__(self, options: ForgettingOptions, messages: Messages, baseline: float | None = None) -> None:
        self.options, self.baseline = options, baseline
        self._messages = messages
        self._over = False

    def see(self, step: int, figures: Mapping[str, Any]) -> dict[str, Any]:
        """`figures` ({"en": {"bits_per_byte": ...}, ...}) with "forgetting", the relative rise, added.

        Raises Forgotten (exit code 3) under the policy "stop" when the rise is more than the limit, and SeaError where
        the language is not among the figures.
        """
        lang, limit = self.options.lang, self.options.limit
        if lang not in figures:
            raise SeaError(f"the evaluation has no {lang}, whose forgetting is watched", fix=f"--eval-data {lang}=FILE")
        now = float(figures[lang]["bits_per_byte"])
        if self.baseline is None:
            self.baseline = now
        rise = relative_rise(now, self.baseline)
        seen = {**figures, "forgetting": rise}
        was_over, self._over = self._over, rise > limit
        if self._over:
            what = (
                f"step {step}: {lang} is being forgotten: {now:.4f} bits per byte, {self.baseline:.4f} at the start "
                f"(+{100 * rise:.1f} %, limit {100 * limit:g} %)"
            )
            if self.options.policy == "stop":
                raise Forgotten(what, figures=seen, fix=f"more {lang} in the mix, a lower --lr, or --train neurons")
            if not was_over:
                self._messages.warn(what)
        return seen
