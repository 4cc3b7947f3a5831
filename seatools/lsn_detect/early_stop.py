"""How well the two halves of what was read agree on the neurons: what an early stop waits for.

The halves are a language's documents by turns, so they differ by chance only. The agreement of two halves is lower
than that of the whole with another sample of its size (each half has half the text), so it errs on the safe side.
"""

from __future__ import annotations

import numpy as np

from seatools.lsn_detect.select import SelectOptions, jaccard, select
from seatools.lsn_detect.table import StatsTable

MOST_IMPORTANT = 0.05  # share of each place, where no criterion is given


def agreement(table: StatsTable, options: SelectOptions) -> dict[str, float]:
    """lang -> Jaccard index of the sets that `options` selects from either half; 0 for all while a half is empty."""
    if any((stats.docs == 0).any() for stats in table.langs.values()):
        return dict.fromkeys(table.langs, 0.0)
    return jaccard(select(table, options, half=0).sets, select(table, options, half=1).sets)


def own_agreement(table: StatsTable) -> dict[str, float]:
    """lang -> Jaccard index of the most important neurons of each place in either half: no other language needed."""
    agreed = {}
    for lang, stats in table.langs.items():
        both = either = 0
        for arrays in stats.values.values():
            first, second = (_most_important(arrays["importance"][half]) for half in (0, 1))
            both += int((first & second).sum())
            either += int((first | second).sum())
        agreed[lang] = both / either if either else 0.0
    return agreed


def _most_important(importance: np.ndarray) -> np.ndarray:
    """Bool [n] of `importance` [n]: the share MOST_IMPORTANT, and none of no importance."""
    number = max(1, round(MOST_IMPORTANT * len(importance)))
    order = np.argsort(-importance, kind="stable")[:number]
    chosen = np.zeros(len(importance), dtype=bool)
    chosen[order] = importance[order] > 0
    return chosen
