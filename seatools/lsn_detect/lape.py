"""LAPE: neurons whose activation probability is concentrated on few languages (Tang et al., arXiv 2402.16438).

p = share of a language's tokens on which act(x W_gate) > 0. The probabilities of a neuron, normalised over the
languages, have an entropy (natural log, 0 log 0 = 0); the `share` of all neurons with the lowest is kept, among those
that some language has above the `percentile` of all probabilities. A kept neuron belongs to every language above that
same bar. Steps and rounding are the official code's (kthvalue of round(n * 0.95), topk of round(n * 0.01)), in float64;
equal entropies go by position, and a neuron below the bar is never kept, not even to fill the share. The score that is
stored is p in that language.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seatools.lsn_detect.ranking import best
from seatools.streams.errors import SeaError, UsageError


@dataclass(frozen=True)
class LapeSelection:
    """`chosen` bool [languages, neurons], `probabilities` float64 of the same shape, and how it came about."""

    chosen: np.ndarray
    probabilities: np.ndarray
    bar: float
    """The percentile's probability (t95)."""
    num_wanted: int
    """round(share * neurons), or the neurons wanted of each language."""

    @property
    def num_kept(self) -> int:
        """Neurons of any language; less than round(share * neurons) only where too few neurons pass the bar."""
        return int(self.chosen.any(0).sum())


def entropies(probabilities: np.ndarray) -> np.ndarray:
    """LAPE float64 [neurons] of `probabilities` [languages, neurons]; 0 for a neuron that is never active."""
    total = probabilities.sum(0)
    normed = probabilities / np.where(total > 0, total, 1)
    return -(normed * np.log(np.where(normed > 0, normed, 1))).sum(0)


def select(
    positive: np.ndarray, tokens: np.ndarray, *, percentile: float, share: float, top: int | None = None
) -> LapeSelection:
    """LAPE from the tokens with `positive` gate int64 [languages, neurons] and all `tokens` int64 [languages].

    With `top`, each language gets so many of the neurons that it has above the bar, those of lowest entropy, however
    many that makes in all. SeaError where `share` of the neurons is none.
    """
    if len(positive) < 2:
        raise UsageError("LAPE compares languages and needs two at least", fix="another --lang, or --method plnd")
    num_wanted = round(positive.shape[1] * share) if top is None else top
    if num_wanted == 0:
        raise SeaError(f"{share} of {positive.shape[1]:,} FFN neurons is none", fix="a larger --share")
    probabilities = positive / np.maximum(tokens, 1)[:, None]
    rank = max(1, round(probabilities.size * percentile))
    bar = float(np.partition(probabilities, rank - 1, axis=None)[rank - 1])
    passed, entropy = probabilities > bar, entropies(probabilities)
    if top is None:
        chosen = passed & best(np.where(passed.any(0), -entropy, -np.inf), num_wanted)
    else:
        chosen = np.stack([best(np.where(of_language, -entropy, -np.inf), top) for of_language in passed])
    return LapeSelection(chosen, probabilities, bar, num_wanted)
