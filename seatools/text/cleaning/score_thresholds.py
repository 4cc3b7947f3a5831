"""Which documents a language model's score keeps: of each language the share with the lowest bits per byte.

CCNet (Wenzek et al., LREC 2020, section 3.2) sets its perplexity thresholds per language by quantiles, because the
scores of two languages do not compare, and so do we. Sorting is all the cost: 8 bytes a document of one language at a
time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np

from seatools.streams.errors import UsageError


def shares_of(langs: Sequence[str], quantiles: Mapping[str, float] | float) -> list[float]:
    """The share of each of `langs` that is kept, by `quantiles`: one for each, or one for all.

    Needs no scores, so it is asked before they are made. Raises UsageError for a share outside 0 to 1 and for a
    language that has none.
    """
    shares = quantiles if isinstance(quantiles, Mapping) else dict.fromkeys(langs, quantiles)
    for lang, share in shares.items():
        if not 0 <= share <= 1:
            raise UsageError(f"the share of {lang} to keep is {share}; it must be from 0 to 1")
    missing = [lang for lang in langs if lang not in shares]
    if missing:
        given = ",".join(f"{lang}={share}" for lang, share in shares.items())
        raise UsageError(
            f"no share to keep is given for documents in {', '.join(missing[:5])}",
            fix=f"--score-quantile {given or 'th=0.3'},0.5 keeps 0.5 of every other language",
        )
    return [shares[lang] for lang in langs]


def keep_by_quantile(scores: np.ndarray, groups: np.ndarray, shares: Sequence[float]) -> np.ndarray:
    """Whether each document is kept, [docs] bool, by `scores` [docs] float32 in bits per byte (nan: never kept).

    `groups` [docs] integers: which of `shares`, 0 to 1, is that of the document's language. Of n scored documents it
    keeps share * n, rounded to the nearest integer and a half to the even one (0.5 of 5 is 2, of 7 is 4), the share
    taken as the decimal number it is written as. Of equal scores the earlier document goes first.
    """
    if len(scores) != len(groups):
        raise ValueError(f"{len(scores)} scores for {len(groups)} languages")
    keep = np.zeros(len(scores), dtype=bool)
    for number, share in enumerate(shares):
        mine = np.flatnonzero((groups == number) & ~np.isnan(scores))
        count = round(Fraction(str(share)) * len(mine))
        keep[mine[np.argsort(scores[mine], kind="stable")[:count]]] = True
    return keep
