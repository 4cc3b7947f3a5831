"""One pass over a language: the decoder without its head runs over packed rows, collectors count in their hooks.

A collector is told the batch, hooks the modules that `engine.neuron_layers` finds, and keeps sums only (int64,
float64), so memory beyond the forward pass is a few numbers per neuron and, for a batch, per document and neuron.
`Membership` turns sums over documents of any length into products with blocks of ones, [documents, tokens] @ [tokens,
neurons]: the same few operations on a CPU and on CUDA, no loop over documents, no synchronisation, sums in a fixed
order. On a CPU a block of tokens stays in the cache between the product and its elementwise operations, so
reading the activations from memory, once, is half of the cost: 0.4 of 0.7 ns a number for squares and magnitudes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from seatools.engine.loss import forward_hidden
from seatools.lsn_detect.corpora import PackedBatch
from seatools.streams.errors import SeaError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Numbers of one block of activations: half a CPU's cache, a GPU's width.
BLOCK_NUMBERS_CPU = 1 << 18
BLOCK_NUMBERS_GPU = 1 << 24
_FEWEST_TOKENS = 16  # of a block, however wide the activations are


class Block(NamedTuple):
    """Tokens [start, stop) of the flattened rows, documents [first, last) that have some of them, and which.

    `documents` [last - first, stop - start] and `halves` [2, stop - start] hold a one where the token is of the
    document, or of the half; of padding there is none.
    """

    start: int
    stop: int
    first: int
    last: int
    documents: Tensor
    halves: Tensor


class Membership:
    """Which token of a batch is of which document (`num_docs`, in the order of their tokens) and of which half."""

    def __init__(self, batch: PackedBatch) -> None:
        width = batch.batch.input_ids.shape[1]
        spans = sorted(batch.spans)
        self.num_docs, self.num_tokens = len(spans), batch.batch.input_ids.numel()
        self.halves = torch.tensor([span.half for span in spans], dtype=torch.int64)
        """The half of each document, int64 [num_docs], on the host."""
        self.owners = torch.full((self.num_tokens,), -1, dtype=torch.int64)
        """The document of each token, -1 for padding, int64 [num_tokens], on the host."""
        for document, (row, start, stop, _half) in enumerate(spans):
            self.owners[row * width + start : row * width + stop] = document
        self._blocks: dict[tuple[int, torch.dtype, torch.device], list[Block]] = {}
        self._on_device: dict[torch.device, tuple[Tensor, Tensor]] = {}

    def on(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """(`owners`, `halves`) there, copied once."""
        if device not in self._on_device:
            self._on_device[device] = self.owners.to(device), self.halves.to(device)
        return self._on_device[device]

    def blocks(self, width: int, dtype: torch.dtype, device: torch.device) -> list[Block]:
        """Blocks for activations of `width` numbers a token, made once for all layers; none of padding alone."""
        numbers = BLOCK_NUMBERS_GPU if device.type == "cuda" else BLOCK_NUMBERS_CPU
        size = min(self.num_tokens, max(_FEWEST_TOKENS, numbers // width))
        key = size, dtype, device
        if key not in self._blocks:
            starts = range(0, self.num_tokens, size)
            found = (self._block(start, min(start + size, self.num_tokens), dtype, device) for start in starts)
            self._blocks[key] = [block for block in found if block is not None]
        return self._blocks[key]

    def _block(self, start: int, stop: int, dtype: torch.dtype, device: torch.device) -> Block | None:
        owners = self.owners[start:stop]
        text = owners[owners >= 0]
        if not len(text):
            return None
        first, last = int(text.min()), int(text.max()) + 1
        documents = (owners == torch.arange(first, last)[:, None]).to(dtype)
        halves = one_hot_rows(self.halves[first:last], 2, dtype) @ documents
        return Block(start, stop, first, last, documents.to(device), halves.to(device))


def one_hot_rows(index: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    """[size, n] with a one at (index[j], j); none in the column of an index below 0."""
    return (index == torch.arange(size, device=index.device)[:, None]).to(dtype)


def precision_of(x: Tensor) -> torch.dtype:
    """What sums over the activations `x` are kept in within a batch: float64 for float64, else float32."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


class Collector(ABC):
    """Hooks that live for the length of a `with`; subclasses add theirs in `attach` and may read `self.batch`."""

    batch: PackedBatch
    """The batch that is in the model now."""
    membership: Membership
    """Its documents."""

    def __init__(self) -> None:
        self.handles: list[Any] = []

    @abstractmethod
    def attach(self) -> None:
        """Register the hooks, their handles (anything with `remove`) in `self.handles`."""

    @abstractmethod
    def arrays(self) -> dict[tuple[int, str], dict[str, np.ndarray]]:
        """(layer, part) -> name -> numbers of each half and neuron, of everything that was observed."""

    def begin(self, batch: PackedBatch, membership: Membership | None = None) -> None:
        """Called before each batch goes into the model; collectors of one pass share its `membership`."""
        self.batch = batch
        self.membership = Membership(batch) if membership is None else membership

    def __enter__(self) -> Collector:
        try:
            self.attach()
        except BaseException:
            self._detach()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._detach()

    def _detach(self) -> None:
        while self.handles:
            self.handles.pop().remove()


def observe(
    model: PreTrainedModel,
    collectors: Sequence[Collector],
    batches: Iterable[PackedBatch],
    advance: Callable[[int], None] | None = None,
) -> None:
    """Run every batch through the decoder with the collectors' hooks on. SeaError if the model gives NaN or inf."""
    with torch.inference_mode(), ExitStack() as stack:
        for collector in collectors:
            stack.enter_context(collector)
        for batch in batches:
            membership = Membership(batch)
            for collector in collectors:
                collector.begin(batch, membership)
            hidden = forward_hidden(model, batch.batch)
            if not torch.isfinite(hidden).all():
                raise SeaError(
                    f"{type(model).__name__} gives numbers that are not finite (in {model.dtype})",
                    fix="--dtype fp32, or check the checkpoint",
                )
            if advance is not None:
                advance(batch.num_tokens)
