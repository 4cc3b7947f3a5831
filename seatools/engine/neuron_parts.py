"""Which module holds a weight that a neuron file names, and which rows, columns and entries of it the neurons are.

One look-up for all that acts on neurons: `Deactivated` switches them off, `selections` says what training them trains.
A fused weight belongs to several places at once (gate and up; q, k and v).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from seatools.engine.feature_axes import row_dim
from seatools.engine.neuron_layers import FFN, Attention, Experts, find_layers
from seatools.engine.neuron_layout import WeightView
from seatools.streams.errors import SeaError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Indices = Sequence[int] | np.ndarray | torch.Tensor


@dataclass(frozen=True)
class Carrier:
    """A weight with neurons: of which layer (an FFN, experts, an attention), and the views of the places in it."""

    name: str
    owner: FFN | Experts | Attention
    views: tuple[tuple[str, int, WeightView], ...]
    """(part, number of its neurons, view) of each place that the weight holds."""

    @property
    def size(self) -> int:
        """Length of the weight's neuron axis."""
        return self.views[0][2].size

    @property
    def is_column(self) -> bool:
        """Whether neurons are input features of this weight, as of down and o, and not output features."""
        if isinstance(self.owner, Attention):
            return self.views[0][0] == "o"
        return self.name == self.owner.place.views[-1].name

    def neurons(self, index: np.ndarray) -> np.ndarray:
        """The neurons of the owner's place, ascending, that have one of these indices of the weight."""
        found = [view.neurons(index, count) for _, count, view in self.views]
        flat = np.unique(np.concatenate(found))
        return flat[flat >= 0]


def carriers(model: PreTrainedModel) -> tuple[dict[str, Carrier], str | None]:
    """Weight name -> carrier, of every weight of `model` that holds neurons; and why attention has none, if so."""
    layers = find_layers(model)
    owned: dict[str, tuple[FFN | Experts | Attention, list[tuple[str, int, WeightView]]]] = {}
    for owner in (*layers.ffn, *layers.attention):
        for place in owner.places.values() if isinstance(owner, Attention) else (owner.place,):
            for view in place.views:
                owned.setdefault(view.name, (owner, []))[1].append((place.part, place.size, view))
    return {name: Carrier(name, owner, tuple(views)) for name, (owner, views) in owned.items()}, layers.no_attention


def resolve(model: PreTrainedModel, weights: Mapping[str, Indices]) -> list[tuple[Carrier, np.ndarray]]:
    """Each named weight with its indices, int64, ascending and unique; weights without any are left out.

    Raises SeaError for a weight that holds no neurons and for an index out of range.
    """
    known, no_attention = carriers(model)
    resolved = []
    for name, indices in weights.items():
        if name not in known:
            raise SeaError(f'{type(model).__name__} has no weight "{name}" that holds neurons', fix=no_attention)
        values = indices.cpu().numpy() if isinstance(indices, torch.Tensor) else indices
        index = np.unique(np.asarray(values, dtype=np.int64))
        size = known[name].size
        if len(index) and not 0 <= index[0] <= index[-1] < size:
            wrong = index[0] if index[0] < 0 else index[-1]
            raise SeaError(f'neuron {wrong} of "{name}" is out of range: it has {size:,}')
        if len(index):
            resolved.append((known[name], index))
    return resolved


def selections(model: PreTrainedModel, weights: Mapping[str, Indices]) -> list[tuple[str, int, torch.Tensor]]:
    """What training these neurons trains: (parameter name, dim, index int64 [n] on the parameter's device).

    Of a Linear dim 0 are rows of the weight and entries of its bias, dim 1 columns; of a Conv1D's weight the other way
    round. In the order of the model's parameters. Raises SeaError for fused experts, which cannot be trained in part.
    """
    chosen = {}
    for carrier, numbers in resolve(model, weights):
        if isinstance(carrier.owner, Experts):
            raise SeaError(
                f"{carrier.name} holds the neurons of all experts of {type(carrier.owner.module).__name__}: "
                "parts of fused experts cannot be trained",
                fix="train the neurons of the other weights, or whole layers",
            )
        module: nn.Module = model.get_submodule(carrier.name)
        weight = module.get_parameter("weight")
        index = torch.from_numpy(numbers).to(weight.device)
        rows = row_dim(module)
        chosen[f"{carrier.name}.weight"] = (1 - rows if carrier.is_column else rows, index)
        if not carrier.is_column and getattr(module, "bias", None) is not None:
            chosen[f"{carrier.name}.bias"] = (0, index.clone())  # a checkpoint of both would refuse shared memory
    return [(name, *chosen[name]) for name, _ in model.named_parameters() if name in chosen]
