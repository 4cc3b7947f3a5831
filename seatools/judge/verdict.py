"""What the two orders of a comparison say together."""

from __future__ import annotations

from dataclasses import dataclass

TIE = 5e-5
"""Log-odds that print as 0.0000: neither label is preferred. Batches change log-odds by 1e-6 in fp32."""


@dataclass(frozen=True)
class Verdict:
    """Both orders' log-odds that the answer shown first is better, and what follows from them."""

    forward: float  # log p(first label) - log p(second label), `first` shown first
    backward: float  # the same, `second` shown first

    @property
    def is_tie(self) -> bool:
        """One order prefers neither label."""
        return min(abs(self.forward), abs(self.backward)) < TIE

    @property
    def agrees(self) -> bool:
        """Both orders name the same answer, neither is a tie."""
        return not self.is_tie and (self.forward > 0) != (self.backward > 0)

    @property
    def first_wins(self) -> bool:
        return self.forward > self.backward

    @property
    def margin(self) -> float:
        """Mean log-odds of the winner over the two orders."""
        return abs(self.forward - self.backward) / 2

    @property
    def signed_margin(self) -> float:
        """Mean log-odds of the first answer over the second; both verdicts count, agreed or not."""
        return (self.forward - self.backward) / 2
