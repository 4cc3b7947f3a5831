"""A vocabulary matrix with its rows in new places and new rows between them, streamed in chunks.

A row that comes from an old one is copied as stored bits, so it changes by no bit; a row of no token that was there
before (padding) stays as it is, and one that was not is zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from seatools.embed_init.old_rows import chunks
from seatools.embed_init.token_map import TokenMap
from seatools.streams.weight_headers import Tensor

ZERO = -1


@dataclass(frozen=True)
class MatrixEdit:
    """How one tensor is rewritten."""

    tensor: Tensor
    source: np.ndarray
    """int64 [new rows]: the old row that a row is a copy of, or `ZERO`."""
    new_ids: np.ndarray
    """int64 [new], ascending: the rows that are neither."""
    new_rows: np.ndarray
    """[new, columns], stored bits."""

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.source), *self.tensor.shape[1:])

    @property
    def num_bytes(self) -> int:
        return self.tensor.num_bytes // self.tensor.shape[0] * len(self.source)

    def bytes(self) -> Iterator[bytes]:
        """The new tensor's bytes, in order."""
        stored = self.tensor.open()
        for ids in chunks(np.arange(len(self.source)), stored.shape[1]):
            source = self.source[ids]
            rows = stored[np.maximum(source, 0)]
            rows[source == ZERO] = 0
            first, last = np.searchsorted(self.new_ids, [ids[0], ids[-1] + 1])
            rows[self.new_ids[first:last] - ids[0]] = self.new_rows[first:last]
            yield rows.tobytes()


def row_sources(tokens: TokenMap, num_old_rows: int, num_rows: int) -> np.ndarray:
    """int64 [num_rows]: for each row the old row that it copies; new tokens' rows count as what was there before."""
    source = np.arange(num_rows, dtype=np.int64)
    source[num_old_rows:] = ZERO
    for new, old in tokens.old_id.items():
        source[new] = old
    return source
