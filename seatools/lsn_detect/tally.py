"""What is kept of the importances of a place: sums over documents, per half of the corpus and neuron.

Enough for any rule that asks in how many documents a neuron matters, and how much: the mean and spread of its
importance, its smallest (PLND as in the paper: at least eps in every document), its worst rank (PLND as released: in
the top k of every document, for any k), documents in which it was of the top share, or reached a threshold. Rank is 1
+ the number of strictly more important neurons of the place in the document, so equals share a rank; a neuron that
changes nothing (importance 0) has rank n + 1 and is in no top. Ranks are of the numbers that were measured, not of
rounded ones. Merging: the arrays of tallies of different documents (shards, ranks) add up; `least` takes the minimum
(inf without any document), `worst_rank` the maximum (0 without any). Only the last bits of the float64 sums depend on
the order.
Cost per document: 24 ns a neuron on a CPU, of which 8 for one argsort (numpy's; torch's takes 44).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from seatools.engine.neuron_layout import Place
from seatools.lsn_detect.statistics import one_hot_rows

_NUMBERS_AT_ONCE = 1 << 24  # of documents * neurons, to bound the memory of ranks


class Tally:
    """Sums of one place on the device of its weights; `size` neurons."""

    def __init__(
        self, place: Place, device: torch.device | str, *, top_k: tuple[float, ...], thresholds: tuple[float, ...]
    ) -> None:
        n = self.size = place.size
        self.ranks_of_top = [max(1, round(share * n)) for share in top_k]
        self.thresholds = thresholds
        self.importance = torch.zeros(2, n, dtype=torch.float64, device=device)
        self.importance_squares = torch.zeros_like(self.importance)
        self.least = torch.full_like(self.importance, torch.inf)
        self.worst_rank = torch.zeros(2, n, dtype=torch.int32, device=device)
        self.selected = torch.zeros(len(top_k), 2, n, dtype=torch.int32, device=device)
        self.exceeding = torch.zeros(len(thresholds), 2, n, dtype=torch.int32, device=device)

    def add(self, importance: Tensor, halves: Tensor) -> None:
        """Count whole documents: `importance` [docs, n] >= 0 of any float dtype, `halves` [docs] int64."""
        step = max(1, _NUMBERS_AT_ONCE // self.size)
        for first in range(0, len(importance), step):
            self._add(importance[first : first + step], halves[first : first + step].to(importance.device))

    def _add(self, importance: Tensor, halves: Tensor) -> None:
        wide = importance.double()
        of_half = one_hot_rows(halves, 2, torch.float64)
        self.importance += of_half @ wide
        self.importance_squares += of_half @ wide.square()
        ranks = ranks_of(importance)
        for half in (0, 1):
            here = (halves == half)[:, None]
            least = importance.where(here, torch.inf).amin(0).double()
            torch.minimum(self.least[half], least, out=self.least[half])
            torch.maximum(self.worst_rank[half], ranks.where(here, 0).amax(0), out=self.worst_rank[half])
        # Counts as products of ones, exact in float32 below 2^24 documents: a sum of bools is ten times as slow.
        ones, counted = of_half.float(), torch.empty(importance.shape, device=importance.device)
        for selected, last in zip(self.selected, self.ranks_of_top, strict=True):
            selected += (ones @ torch.le(ranks, last, out=counted)).to(torch.int32)
        for exceeding, threshold in zip(self.exceeding, self.thresholds, strict=True):
            exceeding += (ones @ torch.ge(importance, threshold, out=counted)).to(torch.int32)

    def arrays(self) -> dict[str, np.ndarray]:
        """`importance`, `importance_squares`, `least` float64 [2, n], `worst_rank` int32 [2, n], `selected` int32
        [len(top_k), 2, n] and `exceeding` int32 [len(thresholds), 2, n], as the interface of statistics files has them.
        """
        names = ("importance", "importance_squares", "least", "worst_rank", "selected", "exceeding")
        return {name: getattr(self, name).cpu().numpy() for name in names}


def ranks_of(importance: Tensor) -> Tensor:
    """int32 like `importance` [docs, n]: 1 + the number of strictly larger ones in the row; n + 1 for zeros."""
    n = importance.shape[1]
    if importance.is_cuda:
        ordered, order = importance.sort(dim=1, descending=True)
    else:
        # Ascending negative numbers: descending ones, and no reversed copy.
        order = torch.from_numpy(np.argsort(importance.neg().numpy(), axis=1))
        ordered = importance.gather(1, order)
    ranks_in_order = torch.arange(1, n + 1, dtype=torch.int32, device=importance.device).repeat(len(importance), 1)
    ranks_in_order[:, 1:].masked_fill_(ordered[:, 1:] == ordered[:, :-1], 0)
    ranks_in_order = ranks_in_order.cummax(1).values.masked_fill_(ordered == 0, n + 1)
    return torch.empty_like(ranks_in_order).scatter_(1, order, ranks_in_order)
