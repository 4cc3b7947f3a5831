"""Which language the next token is for.

- `text`: nobody's in particular; the most frequent pair of all text together (plain BPE).
- `weights`: each language gets its share of the tokens (equal ones, or --weights).
- `gain`: the language whose text has shrunk least so far (tokens before over tokens now; the reference of a parity
  drops out of that quotient, so it is also equal gain in parity).
- `parity`: the language that is worst off now: tokens over the reference's on parallel text.
A language that has reached its `--until` target, or has no pair left, takes no more; its share goes to the others.
A token counts for the language that it was chosen for, whoever else uses it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from seatools.streams.errors import UsageError

Balance = Literal["text", "weights", "gain", "parity"]
BALANCES: tuple[Balance, ...] = ("weights", "gain", "parity", "text")
METRICS = ("bytes-per-token", "parity")


@dataclass(frozen=True, kw_only=True)
class Target:
    """`--until METRIC=X`: a language that is this good takes no more tokens."""

    metric: str
    value: float

    @classmethod
    def parse(cls, text: str) -> Target:
        """From "bytes-per-token=6"; UsageError for anything else."""
        metric, _, value = text.partition("=")
        metric = metric.replace("_", "-")
        try:
            number = float(value)
        except ValueError:
            number = 0.0
        if metric not in METRICS or not 0 < number < float("inf"):
            raise UsageError(
                f'--until "{text}" is no target', fix=f"--until {METRICS[0]}=6 or --until {METRICS[1]}=1.6"
            )
        return cls(metric=metric, value=number)


@dataclass
class Allotment:
    """The shares of the languages while tokens are made. Stream numbers: training languages, then parallel text."""

    langs: Sequence[str]
    balance: Balance
    num_bytes: np.ndarray
    """[streams] UTF-8 bytes."""
    base_tokens: np.ndarray
    """[streams] tokens in the base's encoding."""
    weights: Mapping[str, float] = field(default_factory=dict)
    targets: Sequence[Target] = ()
    parallel: Mapping[str, int] = field(default_factory=dict)
    """Language -> stream of its parallel text."""
    reference: int | None = None
    """Stream of the reference language's parallel text."""

    def __post_init__(self) -> None:
        self.spent = np.zeros(len(self.langs), np.int64)
        self.exhausted: set[int] = set()
        """Languages without a pair left that occurs often enough."""
        self._weights = np.array([self.weights.get(lang, 1.0) for lang in self.langs])

    def charge(self, numbers: Sequence[int]) -> None:
        """Count a token for each of the languages."""
        np.add.at(self.spent, list(numbers), 1)

    def next(self, tokens: np.ndarray) -> int | None:
        """The language to serve next, or None when all are done. `tokens`: [streams] tokens now."""
        waiting = [
            number
            for number in range(len(self.langs))
            if number not in self.exhausted and self._weights[number] > 0 and not self.reached(number, tokens)
        ]
        if not waiting:
            return None
        return min(waiting, key=lambda number: (self._order(number, tokens), number))

    def _order(self, number: int, tokens: np.ndarray) -> float:
        if self.balance == "gain":
            return float(self.base_tokens[number] / max(1, tokens[number]) / self._weights[number])
        if self.balance == "parity":
            return -self.parity(self.langs[number], tokens) * float(self._weights[number])
        return float((self.spent[number] + 1) / self._weights[number])

    def reached(self, number: int, tokens: np.ndarray) -> bool:
        """Whether the language meets every target (False if there are none)."""
        return bool(self.targets) and all(self._meets(target, number, tokens) for target in self.targets)

    def _meets(self, target: Target, number: int, tokens: np.ndarray) -> bool:
        lang = self.langs[number]
        if target.metric == "parity":
            return self.parity(lang, tokens) <= target.value
        stream = self.parallel.get(lang, number)  # unseen text says more
        return bool(self.num_bytes[stream] >= target.value * tokens[stream])

    def parity(self, lang: str, tokens: np.ndarray) -> float:
        """Tokens over the reference's tokens on parallel text."""
        assert self.reference is not None
        return float(tokens[self.parallel[lang]] / max(1, tokens[self.reference]))
