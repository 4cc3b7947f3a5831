"""Best of M: the answers whose tokens the model itself finds most likely, on the average.

The score of an answer is the mean over its tokens of log p(token | prompt, tokens before), in nats, at temperature 1
and with no token left out, so that it does not depend on how the answer was drawn; what ends an answer (EOS) is not
counted. The mean and not the sum, which would take the shortest (GNMT, arXiv 1609.08144, eq. 14, with alpha = 1). An
empty answer has no score and comes last. Cost: one more reading of the answers, each prompt read once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from seatools.streams.errors import SeaError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_DIGITS = 6


def mean_log_probs(
    model: PreTrainedModel, pairs: Sequence[tuple[Sequence[int], Sequence[int]]], batch_tokens: int | None = None
) -> list[float | None]:
    """The score of each (prompt ids, answer ids), None for an empty answer. SeaError for one not finite."""
    from seatools.engine.prefix_scores import prefix_scores

    scored = [place for place, (_, ids) in enumerate(pairs) if len(ids)]
    docs = [
        (np.array([*pairs[place][0], *pairs[place][1]], dtype=np.uint32),
         np.array([0] * len(pairs[place][0]) + [1] * len(pairs[place][1]), dtype=np.uint8))
        for place in scored
    ]  # fmt: skip
    found: list[float | None] = [None] * len(pairs)
    if not docs:
        return found
    for place, total in zip(scored, prefix_scores(model, docs, batch_tokens=batch_tokens).tolist(), strict=True):
        if not math.isfinite(total):
            raise SeaError("the model gives log-probabilities that are not finite", fix="try --dtype bf16 or fp32")
        found[place] = round(total / len(pairs[place][1]), _DIGITS)
    return found


def best_answers(texts: Sequence[str], scores: Sequence[float | None], num: int) -> list[int]:
    """Indices of `num` answers, the best first; of equal texts one counts until there are no others."""
    order = sorted(range(len(texts)), key=lambda k: (math.inf if (score := scores[k]) is None else -score, k))
    first: dict[str, int] = {}
    for k in order:
        first.setdefault(texts[k], k)
    different = list(first.values())
    return (different + [k for k in order if k not in different])[:num]
