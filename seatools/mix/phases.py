"""Weights that change along the run: stretches of the budget, each with weights of its own.

SeaLLMs (arXiv 2312.00738, section 2.3) rebalances the streams of its languages during training and, in the last
steps, feeds the model again with high-quality data that it has seen. So each phase has its weights (0: the source
rests), a source goes on in the next phase where it stopped, its epochs count over all phases, and a phase may raise
its cap. The fair queue starts afresh in each phase, so that no source makes up there for what it got before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from seatools.streams.errors import UsageError

_TOLERANCE = Fraction(1, 1000)


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One stretch of the mix."""

    name: str
    share: Fraction | None = None
    """Of the budget; all phases together 1."""
    budget: int | None = None
    """Units, instead of a share."""
    weights: Mapping[str, Fraction] = field(default_factory=dict)
    """By source; one that is not named keeps its own weight. 0: it rests."""
    max_epochs: Mapping[str, int] = field(default_factory=dict)
    """How often a source may have been read when the phase ends, where it is not the cap of the mix; "" for all."""

    def __post_init__(self) -> None:
        if (self.share is None) == (self.budget is None):
            raise UsageError(f"phase {self.name} needs a share of the budget or a budget, not both", fix="share = 0.1")
        if self.share is not None and self.share <= 0:
            raise UsageError(f"phase {self.name}: the share must be greater than 0", fix="share = 0.1")
        if self.budget is not None and self.budget < 1:
            raise UsageError(f"phase {self.name}: the budget must be at least 1", fix='budget = "1B"')
        for source, weight in self.weights.items():
            if weight < 0:
                raise UsageError(f"phase {self.name}: the weight of {source} is negative", fix="0 or more")
        for source, cap in self.max_epochs.items():
            if cap < 1:
                raise UsageError(f"phase {self.name}: max_epochs{' of ' * bool(source)}{source} must be at least 1")


def check_phases(phases: Sequence[Phase], budget: int | None) -> None:
    """Refuse phases that do not divide one budget."""
    names = [phase.name for phase in phases]
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled is not None:
        raise UsageError(f"two phases are named {doubled}", fix="each phase another name")
    by_share = [phase for phase in phases if phase.share is not None]
    if by_share and len(by_share) < len(phases):
        raise UsageError("some phases have a share and others a budget", fix="share for all of them, or budget for all")
    if by_share:
        total = sum((phase.share or Fraction(0) for phase in phases), Fraction(0))
        if abs(total - 1) > _TOLERANCE:
            raise UsageError(
                f"the shares of the phases are {float(total):g} together, not 1", fix="share = 0.9 and 0.1"
            )
        if budget is None:
            raise UsageError("phases with shares need a budget to share", fix="--budget 10B, or budget in each phase")
    elif phases and budget is not None:
        raise UsageError("a budget of the mix and budgets of its phases", fix="share = 0.9 in the phases, or no budget")


def phase_ends(phases: Sequence[Phase], budget: int | None) -> list[int | None]:
    """Where each phase ends, in units from the start of the mix; one phase that ends at the budget where none is
    given (None: without one)."""
    if not phases:
        return [budget]
    if budget is None:
        ends, reached = [], 0
        for phase in phases:
            reached += phase.budget or 0
            ends.append(reached)
        return list(ends)
    shares = [phase.share or Fraction(0) for phase in phases]
    return [round(budget * sum(shares[: number + 1], Fraction(0)) / sum(shares)) for number in range(len(phases))]
