"""How consistent the judge was, per language: the share of pairs whose two orders named the same answer.

A judge that guesses agrees with itself half of the time, one that goes by the place never. The interval is Wilson's
(1927), which holds for few pairs and for shares of 0 and 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seatools.judge.verdict import Verdict
from seatools.streams.errors import CheckFailed
from seatools.streams.messages import Messages

NEAR_CHANCE = 0.6
ONE_PLACE = 0.95
_Z = 1.959964  # of a normal distribution, 95 %


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % interval of a share; (0, 1) of nothing."""
    if trials == 0:
        return 0.0, 1.0
    share, square = successes / trials, _Z**2
    middle = (share + square / (2 * trials)) / (1 + square / trials)
    half = _Z / (1 + square / trials) * math.sqrt(share * (1 - share) / trials + square / (4 * trials**2))
    return max(0.0, middle - half), min(1.0, middle + half)


@dataclass(frozen=True)
class Consistency:
    """Of the pairs of one language that were judged."""

    lang: str
    pairs: int
    kept: int
    verdicts: tuple[Verdict, ...]
    """Of the pairs about which the judge said something."""

    @property
    def agreement(self) -> float:
        """Share of the verdicts whose orders agree; NaN of none."""
        return self._agreeing / len(self.verdicts) if self.verdicts else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(self._agreeing, len(self.verdicts))

    @property
    def first_label(self) -> float:
        """Share of the readings, both orders counted, that name the label shown first; NaN of none."""
        named = sum((verdict.forward > 0) + (verdict.backward > 0) for verdict in self.verdicts)
        return named / (2 * len(self.verdicts)) if self.verdicts else math.nan

    @property
    def _agreeing(self) -> int:
        return sum(verdict.agrees for verdict in self.verdicts)

    def record(self) -> dict[str, Any]:
        """For the manifest and `--json`."""
        low, high = self.interval
        return {
            "pairs": self.pairs, "kept": self.kept, "no_verdict": self.pairs - len(self.verdicts),
            "ties": sum(verdict.is_tie for verdict in self.verdicts),
            "agreement": _rounded(self.agreement), "agreement_low": _rounded(low), "agreement_high": _rounded(high),
            "first_label": _rounded(self.first_label),
        }  # fmt: skip

    def sentence(self) -> str:
        """What is said of it."""
        low, high = self.interval
        if not self.verdicts:
            return f"{self.lang}: {self.kept} of {self.pairs} pairs kept, the judge gave no verdict"
        return (
            f"{self.lang}: {self.kept} of {self.pairs} pairs kept, the orders agree on {_percent(self.agreement)} "
            f"(95 % interval {_percent(low)} to {_percent(high)}); the first label is named in "
            f"{_percent(self.first_label)}"
        )

    def warning(self) -> str | None:
        """What is wrong with the judge in this language, if it shows."""
        if not self.verdicts:
            return None
        low, _ = self.interval
        if self.agreement >= NEAR_CHANCE and low > 0.5:
            return None
        share = max(self.first_label, 1 - self.first_label)
        if share >= ONE_PLACE and len(self.verdicts) >= 4:
            label = "first" if self.first_label > 0.5 else "second"
            return (
                f"{self.lang}: the judge names the {label} label in {_percent(share)} of its readings, whatever "
                "stands there: it judges the place, not the answers"
            )
        if self.agreement >= NEAR_CHANCE:
            few = f"{len(self.verdicts)} pairs are" if len(self.verdicts) > 1 else "one pair is"
            return f"{self.lang}: {few} too few to tell this judge from guessing (50 %)"
        return f"{self.lang}: agreement {_percent(self.agreement)} does not clearly beat guessing (50 %)"


def tell(found: Sequence[Consistency], rejected: Mapping[str, int], messages: Messages) -> None:
    """Say it on stderr, warnings near chance included."""
    for one in found:
        messages.info(one.sentence())
        if (warning := one.warning()) is not None:
            messages.warn(warning)
    tell_rejected(rejected, messages)


def tell_rejected(rejected: Mapping[str, int], messages: Messages) -> None:
    """How many were not judged or not kept, by reason."""
    for reason, count in sorted(rejected.items()):
        messages.info(f"not kept: {count:,} ({reason})")


def require_consistency(found: Sequence[Consistency], least: float | None) -> None:
    """Raises CheckFailed for a language whose orders agree on less than `least` of its pairs, or without a verdict."""
    poor = [one for one in found if least is not None and not one.agreement >= least]
    if not poor:
        return
    told = "; ".join(
        f"{one.lang} {_percent(one.agreement)} of {len(one.verdicts):,} pairs "
        f"({_percent(one.interval[0])} to {_percent(one.interval[1])})"
        for one in poor
    )
    raise CheckFailed(
        f"the two orders agree on less than --min-consistency {least:g}: {told}; nothing is written",
        fix="a larger judge, other --criteria, --criteria-lang en, or --judge-url",
    )


def _percent(share: float) -> str:
    return "no part" if math.isnan(share) else f"{100 * share:.0f} %"


def _rounded(share: float) -> float | None:
    return None if math.isnan(share) else round(share, 4)
