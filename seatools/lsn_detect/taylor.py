"""The loss-aware score: |sum_t a_ti dL/da_ti| of a document, what its loss loses to first order without neuron i.

L is the summed next-token loss of the document in nats, a the activation that the neuron is: what enters the projection
down (ffn, shared) or out (o), and the rows of q, k and v after QK-norm and before RoPE. By the chain rule it is the
derivative of L in a factor on the neuron, at 1. Documents do not see each other, so one backward pass of the sum over a
batch serves them all; the parameters are frozen, and only gradients of activations are made (two thirds of a training
step). Memory: the activations of one batch, and those that are measured once more. Experts that are one module keep
their activations to themselves: SeaError by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from seatools.engine.loss import batch_loss
from seatools.engine.neuron_layers import FFN, Attention, Layers
from seatools.engine.neuron_layout import Place
from seatools.lsn_detect.corpora import PackedBatch
from seatools.lsn_detect.head_rows import head_rows, source_of
from seatools.lsn_detect.statistics import Collector, Membership, one_hot_rows, precision_of
from seatools.streams.errors import SeaError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass
class MeanLoss:
    """The summed loss in nats and the number of tokens that were predicted."""

    nats: float = 0.0
    tokens: int = 0

    @property
    def mean(self) -> float:
        """Nats a token; NaN of no token."""
        return self.nats / self.tokens if self.tokens else float("nan")


class TaylorScores(Collector):
    """The scores of every place of `parts`; to be observed with `observe_with_loss`.

    SeaError for an attention that is not handled, and for a mixture of experts if "ffn" is among the parts.
    """

    def __init__(self, model: PreTrainedModel, layers: Layers, *, parts: Sequence[str]) -> None:
        super().__init__()
        self.places = layers.places(parts)
        wanted = {place.key for place in self.places}
        self.ffn: list[FFN] = []
        for ffn in layers.ffn:
            if ffn.place.key not in wanted:
                continue
            if not isinstance(ffn, FFN):
                raise SeaError(
                    f"{type(ffn.module).__name__} ({ffn.name}) holds all its experts in one module: their activations "
                    "have no gradients that can be seen",
                    fix="--parts without ffn, or without the Taylor score",
                )
            self.ffn.append(ffn)
        self.attention = [layer for layer in layers.attention if any((layer.layer, part) in wanted for part in "qkvo")]
        self.sums: dict[tuple[int, str], Tensor] = {}
        for place in self.places:
            device = next(model.get_submodule(place.views[-1].name).parameters()).device
            self.sums[place.key] = torch.zeros(2, place.size, dtype=torch.float64, device=device)

    def arrays(self) -> dict[tuple[int, str], dict[str, np.ndarray]]:
        """`taylor` float64 [2, n]: the sum over the documents of each half."""
        return {key: {"taylor": total.cpu().numpy()} for key, total in self.sums.items()}

    def attach(self) -> None:
        for ffn in self.ffn:
            self.handles.append(ffn.down.register_forward_pre_hook(self._of_input(ffn.place)))
        for layer in self.attention:
            if (layer.layer, "o") in self.sums:
                self.handles.append(layer.o.register_forward_pre_hook(self._of_input(layer.places["o"])))
            for part in "qkv":
                if (layer.layer, part) in self.sums:
                    hook = self._of_rows(layer, part)
                    self.handles.append(source_of(layer, part).register_forward_hook(hook))

    def _of_input(self, place: Place) -> Callable[..., None]:
        def hook(module: Any, args: tuple[Tensor, ...]) -> None:
            self._await(place, args[0], lambda x: x)

        return hook

    def _of_rows(self, layer: Attention, part: str) -> Callable[..., None]:
        def hook(module: Any, args: tuple[Tensor, ...], output: Tensor) -> None:
            given = args[0]
            rows, width = self.batch.batch.input_ids.shape

            def take(x: Tensor) -> Tensor:
                return head_rows(layer, part, given, x, (rows, width))

            self._await(layer.places[part], output, take)

        return hook

    def _await(self, place: Place, x: Tensor, take: Callable[[Tensor], Tensor]) -> None:
        """Add the scores of the batch when the gradient of `x` is there."""
        if not x.requires_grad:
            raise RuntimeError("the Taylor score needs gradients: use observe_with_loss")
        membership = self.membership
        activation = x.detach()

        def add(gradient: Tensor) -> None:
            total = self.sums[place.key]
            a, g = (take(y).reshape(-1, place.size) for y in (activation, gradient))
            dtype = precision_of(a)
            if len(a) != membership.num_tokens:
                raise SeaError(f"{len(a)} activations of layer {place.layer} for {membership.num_tokens} tokens")
            scores = total.new_zeros(membership.num_docs, place.size, dtype=dtype)
            for block in membership.blocks(place.size, dtype, a.device):
                tokens = slice(block.start, block.stop)
                products = a[tokens].to(dtype) * g[tokens].to(dtype)
                scores[block.first : block.last].addmm_(block.documents, products)
            total += one_hot_rows(membership.on(total.device)[1], 2, torch.float64) @ scores.abs_().double()

        x.register_hook(add)


def observe_with_loss(
    model: PreTrainedModel,
    collectors: Sequence[Collector],
    batches: Iterable[PackedBatch],
    advance: Callable[[int], None] | None = None,
) -> MeanLoss:
    """Run every batch forward and backward with the collectors' hooks on; parameters get no gradient.

    Gives the loss over all tokens but the first of each document. SeaError if it is not finite.
    """
    found = MeanLoss()
    total = torch.zeros((), dtype=torch.float64, device=model.device)
    with torch.enable_grad(), _frozen(model), ExitStack() as stack:
        for collector in collectors:
            stack.enter_context(collector)
        for batch in batches:
            membership = Membership(batch)
            for collector in collectors:
                collector.begin(batch, membership)
            owners, _ = membership.on(batch.batch.input_ids.device)
            targets = (owners >= 0).view(batch.batch.input_ids.shape)
            loss = batch_loss(model, replace(batch.batch, loss_mask=targets))
            if not torch.isfinite(loss.total):
                raise SeaError(
                    f"{type(model).__name__} gives a loss that is not finite (in {model.dtype})",
                    fix="--dtype fp32, or check the checkpoint",
                )
            total += loss.nll.sum(dtype=torch.float64)
            found.tokens += len(loss.row)
            if len(loss.row):
                loss.total.backward()
            if advance is not None:
                advance(batch.num_tokens)
    found.nats = float(total)
    return found


@contextmanager
def _frozen(model: PreTrainedModel) -> Iterator[None]:
    """No parameter is trained; the graph begins at the embeddings, which are given a gradient."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def begin(module: Any, args: Any, output: Tensor) -> Tensor:
        return output.detach().requires_grad_()

    embeddings: Any = model.get_input_embeddings()
    handle = embeddings.register_forward_hook(begin)
    try:
        for parameter in trained:
            parameter.requires_grad_(False)
        yield
    finally:
        handle.remove()
        for parameter in trained:
            parameter.requires_grad_(True)
