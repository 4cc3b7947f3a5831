"""One pass over a language: the decoder without its head runs over packed rows, a collector counts in its hooks.

A collector is told the batch, hooks the modules that `engine.neurons` finds, and keeps sums only (int64, float64),
so memory beyond the forward pass is a few numbers per neuron. Cost of the FFN and V statistics: under 0.1 % of the
forward pass (eval-lsn C3); of Q and K see attention_ablation.py.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch

from seatools.engine.loss import forward_hidden
from seatools.lsn_detect.corpora import PackedBatch
from seatools.streams.errors import SeaError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Collector(ABC):
    """Hooks that live for the length of a `with`; subclasses add theirs in `attach` and may read `self.batch`."""

    batch: PackedBatch
    """The batch that is in the model now."""

    def __init__(self) -> None:
        self.handles: list[Any] = []

    @abstractmethod
    def attach(self) -> None:
        """Register the hooks, their handles in `self.handles`."""

    def begin(self, batch: PackedBatch) -> None:
        """Called before each batch goes into the model."""
        self.batch = batch

    def __enter__(self) -> Collector:
        self.attach()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self.handles:
            self.handles.pop().remove()


def observe(
    model: PreTrainedModel,
    collector: Collector,
    batches: Iterable[PackedBatch],
    advance: Callable[[int], None] | None = None,
) -> None:
    """Run every batch through the decoder with the collector's hooks on. SeaError if the model gives NaN or inf."""
    with torch.inference_mode(), collector:
        for batch in batches:
            collector.begin(batch)
            hidden = forward_hidden(model, batch.batch)
            if not torch.isfinite(hidden).all():
                raise SeaError(
                    f"{type(model).__name__} gives numbers that are not finite (in {model.dtype})",
                    fix="--dtype fp32, or check the checkpoint",
                )
            if advance is not None:
                advance(batch.num_tokens)
