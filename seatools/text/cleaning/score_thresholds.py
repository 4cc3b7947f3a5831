"""Which documents a language model's score keeps: of each language the share with the lowest bits per byte.

CCNet (Wenzek et al., LREC 2020, section 3.2) sets its perplexity thresholds per language by quantiles, because the
scores of two languages do not compare, and so do we. Sorting is all the cost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np

from seatools.streams.errors import UsageError


def keep_by_quantile(scores: np.ndarray, langs: Sequence[str], quantiles: Mapping[str, float] | float) -> np.ndarray:
    """Whether each document is kept, [docs] bool, by `scores` [docs] float32 in bits per byte (nan: never kept).

    `quantiles`: the share of a language that is kept, 0 to 1, one for each or one for all. Of n scored documents it
    keeps share * n, rounded to the nearest integer and a half to the even one (0.5 of 5 is 2, of 7 is 4), the share
    taken as the decimal number it is written as. Of equal scores the earlier document goes first.
    Raises UsageError for a share outside 0 to 1 and for a language that has none.
    """
    if len(scores) != len(langs):
        raise ValueError(f"{len(scores)} scores for {len(langs)} languages")
    numbers: dict[str, int] = {}
    group = np.array([numbers.setdefault(lang, len(numbers)) for lang in langs], dtype=np.int64)
    shares = quantiles if isinstance(quantiles, Mapping) else dict.fromkeys(numbers, quantiles)
    for lang, share in shares.items():
        if not 0 <= share <= 1:
            raise UsageError(f"the share of {lang} to keep is {share}; it must be from 0 to 1")
    missing = [lang for lang in numbers if lang not in shares]
    if missing:
        raise UsageError(
            f"no share to keep is given for {', '.join(map(str, missing[:5]))}",
            fix="give one for each language that the documents have, or one number for all",
        )
    keep = np.zeros(len(scores), dtype=bool)
    for lang, number in numbers.items():
        mine = np.flatnonzero((group == number) & ~np.isnan(scores))
        count = round(Fraction(str(shares[lang])) * len(mine))
        keep[mine[np.argsort(scores[mine], kind="stable")[:count]]] = True
    return keep
