"""Loss and bits per byte of training per source (language), from the losses that the step computes anyway.

The loss of a mix says little: a batch with more Thai looks worse than one with more English, and a longer vocabulary
changes the scale of every loss. So the losses of a step are summed per source of the packed data, and divided by
targets (loss, nats a token) and by bytes (bits per byte, which compare across tokenizers). A target that is a special
token stands for no byte: it counts in the loss, and in bits per byte neither above nor below the line (nanochat's
convention). First tokens of documents are no targets, so these figures are of the data as trained; `evaluate.py`
scores whole texts. Cost: one gather and one index_add of 32 bytes a target; the sums stay on the device until read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seatools.engine.rows import Batch

LOSS, TARGETS, TEXT_LOSS, BYTES = range(4)
"""Columns of the sums: nats of all targets, how many, nats of the targets that stand for bytes, these bytes."""


class SourceLosses:
    """Gathers the sums of one step over its micro-batches: `add` each, all-reduce `sums` over ranks, then `figures`.

    `sources`: their names, as `source_id` counts them. `token_bytes`: uint16 [V], of `text.token_bytes`.
    """

    def __init__(self, sources: Sequence[str], token_bytes: np.ndarray, device: torch.device | str) -> None:
        self.sources = list(sources)
        self._token_bytes = torch.from_numpy(token_bytes.astype(np.int32)).to(device)
        self.sums = torch.zeros(len(self.sources), 4, dtype=torch.float64, device=device)

    def start(self) -> None:
        """Forget what was added: a new step begins."""
        self.sums = torch.zeros_like(self.sums)

    @torch.no_grad()
    def add(self, batch: Batch, nll: Tensor, row: Tensor, column: Tensor, sources: Tensor) -> None:
        """Take in one micro-batch.

        `nll` [n] fp32 is the loss of the target `batch.input_ids[row, column]`; `sources` [B, T] integer (of
        `source_map`) says whose token each place holds.
        """
        num_bytes = self._token_bytes[batch.input_ids[row, column]].double()
        nats = nll.detach().double()
        columns = (nats, torch.ones_like(nats), nats * (num_bytes > 0), num_bytes)
        self.sums.index_add_(0, sources[row, column].long(), torch.stack(columns, 1))

    def total(self, sums: Tensor | None = None) -> dict[str, Any]:
        """The same of all sources together."""
        return _figures(*(self.sums if sums is None else sums).sum(0).tolist())

    def figures(self, sums: Tensor | None = None) -> dict[str, dict[str, Any]]:
        """{"th": {"loss": nats a target, "bits_per_byte", "tokens": targets}} of the sources that had a target.

        `sums`: [sources, 4] summed over ranks; None: this rank's own. `bits_per_byte` is None where no target stands
        for a byte. Reading them waits for the device.
        """
        table = (self.sums if sums is None else sums).tolist()
        return {name: _figures(*row) for name, row in zip(self.sources, table, strict=True) if row[TARGETS]}


def _figures(loss: float, targets: float, text_loss: float, num_bytes: float) -> dict[str, Any]:
    return {
        "loss": loss / targets,
        "bits_per_byte": text_loss / (math.log(2) * num_bytes) if num_bytes else None,
        "tokens": int(targets),
    }


def source_map(
    lens: Sequence[np.ndarray], sources: Sequence[np.ndarray], row_length: int, device: torch.device | str = "cpu"
) -> Tensor:
    """int32 [B, T]: the source of each token of a batch's rows; 0 in the padding, which holds no target.

    `lens` [documents] and `sources` [documents] of each row, as `PackedData.row_lens` and `.row_sources` give them.
    """
    table = np.zeros((len(lens), row_length), dtype=np.int32)
    for r, (own_lens, own_sources) in enumerate(zip(lens, sources, strict=True)):
        filled = np.repeat(own_sources, own_lens)
        table[r, : len(filled)] = filled
    return torch.from_numpy(table).to(device, non_blocking=True)
