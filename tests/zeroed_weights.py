"""Brute force: what the block of a neuron gives with all parameters of the neuron zero, found through its views."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from seatools.engine.neuron_layers import Experts
from seatools.engine.neuron_layout import Place


@contextmanager
def zeroed(model: nn.Module, place: Place, neuron: int) -> Iterator[None]:
    """Within it row, bias entry and column of the neuron are zero in the weights themselves."""
    named = dict(model.named_parameters())
    before = {}
    with torch.no_grad():
        for number, view in enumerate(place.views):
            index = int(view.physical(np.array(neuron)))
            column = place.part == "o" or (place.part in ("ffn", "shared") and number == len(place.views) - 1)
            if view.name in named:  # stacked experts
                weight = named[view.name]
                expert, inside = divmod(index, view.size // weight.shape[0])
                part = weight[expert, :, inside] if column else weight[expert, inside]
                before[id(part)] = (part, part.clone())
                part.zero_()
                continue
            module: Any = model.get_submodule(view.name)
            rows = module.weight.t() if isinstance(module, nn.Linear) == column else module.weight
            for part in (
                [rows[index]] if column or module.bias is None else [rows[index], module.bias[index : index + 1]]
            ):
                before[id(part)] = (part, part.clone())
                part.zero_()
    try:
        yield
    finally:
        with torch.no_grad():
            for part, values in before.values():
                part.copy_(values)


def output_of(model: Any, module: nn.Module, ids: np.ndarray) -> Tensor:
    """What `module` gives on this document, [tokens, D]."""
    kept: list[Tensor] = []

    def keep(_module: Any, _args: Any, output: Any) -> None:
        kept.append((output[0] if isinstance(output, tuple) else output).reshape(len(ids), -1).clone())

    handle = module.register_forward_hook(keep)
    model(input_ids=torch.from_numpy(ids.astype(np.int64))[None], use_cache=False)
    handle.remove()
    return kept[0]


def block_of(model: Any, layer: Any) -> nn.Module:
    """The module whose output a neuron of `layer` changes: the projection out, or the mixture that an expert is in."""
    if isinstance(layer, Experts) or getattr(layer, "part", None) == "shared":
        return model.get_submodule(layer.name.rpartition(".")[0])
    return layer.down if hasattr(layer, "down") else layer.o


def zeroing_changes(model: Any, layer: Any, place: Place, ids: np.ndarray, behind: Any = None) -> list[float]:
    """||block without the neuron - block|| for every neuron of `place`; `behind` is applied to both outputs."""
    behind = behind or (lambda y: y)
    block = block_of(model, layer)
    with torch.no_grad():
        before = behind(output_of(model, block, ids))
        changes = []
        for neuron in range(place.size):
            with zeroed(model, place, neuron):
                changes.append(float((behind(output_of(model, block, ids)) - before).norm()))
    return changes
