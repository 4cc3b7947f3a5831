"""Packed rows: several documents in one row of tokens, and no document sees another.

The documents of a row are told apart by `position_ids` that restart at 0 and by nothing else: transformers (5.x,
`masking_utils.find_packed_sequence_indices`) builds the block-diagonal attention mask from them when there is no
attention_mask and no cache, also for several rows. `engine/soundness.py` proves it for each model that is loaded.
The padding tail of a row is a document of its own, so that it is neither seen nor trained.
Cost: one host copy of 17 bytes a token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

Document = tuple[Sequence[int] | np.ndarray, Sequence[int] | np.ndarray]  # (ids [n], loss_mask [n])


@dataclass(frozen=True)
class Batch:
    """B rows of T tokens, ready for the model."""

    input_ids: torch.Tensor  # [B, T] int64
    position_ids: torch.Tensor  # [B, T] int64, from 0 in each document
    loss_mask: torch.Tensor  # [B, T] bool: this token is a training target, predicted from the token before it

    def to(self, device: torch.device) -> Batch:
        """The same batch on `device`."""
        return Batch(*(x.to(device, non_blocking=True) for x in (self.input_ids, self.position_ids, self.loss_mask)))

    @property
    def num_targets(self) -> int:
        """How many tokens are trained (a device synchronisation)."""
        return int(self.loss_mask.sum())


def make_batch(
    rows: Sequence[Sequence[Document]],
    row_length: int | None = None,
    pad_id: int = 0,
    device: torch.device | str = "cpu",
) -> Batch:
    """Lay out `rows`, each a list of documents (ids, loss_mask), as one Batch on `device`.

    T is `row_length`, or the longest row where that is None. The first token of a document has nothing before it to
    be predicted from and is never a target, whatever its mask says.
    Raises ValueError for a row longer than `row_length`, for ids and mask of different length, or for no tokens at all.
    """
    lengths = [sum(len(ids) for ids, _ in row) for row in rows]
    width = row_length if row_length is not None else max(lengths, default=0)
    if not rows or width < 1:
        raise ValueError("a batch needs at least one row and one token")
    input_ids = np.full((len(rows), width), pad_id, dtype=np.int64)
    position_ids = np.zeros((len(rows), width), dtype=np.int64)
    loss_mask = np.zeros((len(rows), width), dtype=bool)
    for r, row in enumerate(rows):
        if lengths[r] > width:
            raise ValueError(f"row {r} has {lengths[r]} tokens, more than the row length {width}")
        at = 0
        for ids, mask in row:
            n = len(ids)
            if len(mask) != n:
                raise ValueError(f"row {r}: {n} ids but a loss mask of {len(mask)}")
            if n == 0:
                continue
            input_ids[r, at : at + n] = ids
            position_ids[r, at : at + n] = np.arange(n)
            loss_mask[r, at + 1 : at + n] = np.asarray(mask, dtype=bool)[1:]
            at += n
        position_ids[r, at:] = np.arange(width - at)
    return Batch(*(torch.from_numpy(x).to(device) for x in (input_ids, position_ids, loss_mask)))
