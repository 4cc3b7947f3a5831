"""Packed rows: several documents in one row of tokens, and no document sees another.

The documents of a row are told apart by `position_ids` that restart at 0, and `starts` says the same once more:
transformers (5.x, `masking_utils.find_packed_sequence_indices`) builds a block-diagonal mask from the positions when
there is no attention_mask and no cache; attention without a mask (engine/attention.py) reads the starts, which are
known on the host here and would cost a device synchronisation anywhere else. `engine/soundness.py` proves either for
each model that is loaded. The padding tail of a row is a document of its own, so that it is neither seen nor trained.
Cost: one host copy of 17 bytes a token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

Document = tuple[Sequence[int] | np.ndarray, Sequence[int] | np.ndarray]  # (ids [n], loss_mask [n])


class Continued(NamedTuple):
    """Documents that go on from the first tokens of the one before them, as a second answer does from its prompt.

    Their positions go on from there as well. `seen` says the same for kernels that want the keys of a document
    together: the keys of document i are those at `seen[seen_starts[i] : seen_starts[i + 1]]`.
    """

    prompts: torch.Tensor  # [N] int32: how many tokens of the document before it each one goes on from; 0: none
    seen: torch.Tensor  # [M] int64: places in the rows laid end to end
    seen_starts: torch.Tensor  # [N + 1] int32


@dataclass(frozen=True)
class Batch:
    """B rows of T tokens, ready for the model."""

    input_ids: torch.Tensor  # [B, T] int64
    position_ids: torch.Tensor  # [B, T] int64, from 0 in each document
    loss_mask: torch.Tensor  # [B, T] bool: this token is a training target, predicted from the token before it
    starts: torch.Tensor | None = None
    """[B, N + 1] int32: where each document of the row begins, then T to the end; None: found from the positions."""
    continued: Continued | None = None
    """Of a batch of one row, for attention that knows it (`engine/attention.py`); all others refuse it."""

    def flat_starts(self) -> torch.Tensor:
        """`starts` of the rows laid end to end: int32 [B * N + 1], from 0 to B * T.

        Without `starts` they are looked for in `position_ids`: a device synchronisation.
        """
        rows, width = self.input_ids.shape
        if self.starts is None:
            found = (self.position_ids.flatten() == 0).nonzero()[:, 0].to(torch.int32)
            return torch.cat([found, found.new_full((1,), rows * width)])
        first = torch.arange(0, rows * width, width, dtype=torch.int32, device=self.starts.device)
        ends = (self.starts[:, 1:] + first[:, None]).flatten()
        return torch.cat([ends.new_zeros(1), ends])


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
    starts = np.full((len(rows), _room_for(max(map(len, rows)) + 1, width) + 1), width, dtype=np.int32)
    loss_mask = np.zeros((len(rows), width), dtype=bool)
    for r, row in enumerate(rows):
        if lengths[r] > width:
            raise ValueError(f"row {r} has {lengths[r]} tokens, more than the row length {width}")
        at = 0
        for number, (ids, mask) in enumerate(row):
            n = len(ids)
            starts[r, number] = at
            if len(mask) != n:
                raise ValueError(f"row {r}: {n} ids but a loss mask of {len(mask)}")
            if n == 0:
                continue
            input_ids[r, at : at + n] = ids
            position_ids[r, at : at + n] = np.arange(n)
            loss_mask[r, at + 1 : at + n] = np.asarray(mask, dtype=bool)[1:]
            at += n
        position_ids[r, at:] = np.arange(width - at)
        starts[r, len(row)] = at
    tokens, places, targets, begins = (
        torch.from_numpy(x).to(device) for x in (input_ids, position_ids, loss_mask, starts)
    )
    return Batch(tokens, places, targets, begins)


def _room_for(documents: int, width: int) -> int:
    """A number of documents a row that stays the same from batch to batch: a new one makes torch.compile start again.

    One for each 64 tokens, doubled until all have room.
    """
    room = max(4, width // 64)
    while room < documents:
        room *= 2
    return room
