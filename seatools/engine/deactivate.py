"""A reversible off switch for neurons: the model as if their rows and columns were zero, with no weight changed.

Forward hooks zero the feature instead of the weight: exact, nothing to restore, no copy of a matrix. Rows are zeroed
in what their projection gives (so before RoPE and any QK-norm), columns in what it takes; all of an FFN's weights act
on the input of its down projection, since a gate row, an up row and a down column are one switch. Experts never show
their activations, so the chosen columns of their down_proj are zero while their module runs, and only then: n x D
numbers are kept meanwhile, and gradients through them are not possible.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from seatools.engine.neuron_layers import FFN, Experts
from seatools.engine.neuron_parts import Indices, resolve

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Deactivated:
    """`with Deactivated(model, {"model.layers.3.mlp.down_proj": indices}):` runs the model without these neurons.

    Equal to zeroing the rows (with bias) and columns, before RoPE and before any QK-norm; weights are untouched,
    and leaving the context, also by an exception, takes the hooks away. Raises SeaError as `neuron_parts.resolve`.
    """

    def __init__(self, model: PreTrainedModel, weights: Mapping[str, Indices]) -> None:
        self._outputs: list[tuple[nn.Module, np.ndarray]] = []
        self._inputs: list[tuple[nn.Module, np.ndarray]] = []
        self._experts: list[tuple[Experts, np.ndarray]] = []
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        ffns: dict[str, tuple[FFN | Experts, list[np.ndarray]]] = {}
        for carrier, index in resolve(model, weights):
            owner = carrier.owner
            if isinstance(owner, FFN | Experts):
                ffns.setdefault(owner.name, (owner, []))[1].append(carrier.neurons(index))
            else:
                chosen = self._inputs if carrier.is_column else self._outputs
                chosen.append((model.get_submodule(carrier.name), index))
        for owner, parts in ffns.values():
            neurons = np.unique(np.concatenate(parts))
            if isinstance(owner, Experts):
                self._experts.append((owner, neurons))
            else:
                self._inputs.append((owner.down, neurons))

    def __enter__(self) -> Deactivated:
        if self._handles:
            raise RuntimeError("these neurons are switched off already; make a second Deactivated to nest")
        for module, index in self._outputs:
            self._handles.append(module.register_forward_hook(_zero_output(_on_device(module, index))))
        for module, index in self._inputs:
            self._handles.append(module.register_forward_pre_hook(_zero_input(_on_device(module, index))))
        for experts, neurons in self._experts:
            without, restore = _zero_columns(experts, neurons)
            self._handles.append(experts.module.register_forward_pre_hook(without))
            # The last one to zero is the first to restore, so that nested switches give back what they took.
            self._handles.append(experts.module.register_forward_hook(restore, prepend=True, always_call=True))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._handles:
            self._handles.pop().remove()


def _on_device(module: nn.Module, index: np.ndarray) -> Tensor:
    return torch.from_numpy(index).to(cast(Tensor, module.weight).device)


def _zero_output(index: Tensor) -> Callable[..., Tensor]:
    def hook(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return output.index_fill(-1, index, 0)

    return hook


def _zero_input(index: Tensor) -> Callable[..., tuple[Tensor, ...]]:
    def hook(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (args[0].index_fill(-1, index, 0), *args[1:])

    return hook


def _zero_columns(experts: Experts, neurons: np.ndarray) -> tuple[Callable[..., None], Callable[..., None]]:
    """Hooks that zero these columns of the experts' down_proj [E, D, f], and put them back."""
    down: Any = experts.module.down_proj
    expert = torch.from_numpy(neurons // experts.width).to(down.device)
    column = torch.from_numpy(neurons % experts.width).to(down.device)
    kept: list[Tensor] = []  # a stack: of a module that calls itself, or of a recomputed block

    def without(module: nn.Module, args: Any) -> None:
        with torch.no_grad():
            kept.append(down[expert, :, column])
            down[expert, :, column] = 0

    def restore(module: nn.Module, args: Any, output: Any) -> None:
        with torch.no_grad():
            down[expert, :, column] = kept.pop()

    return without, restore
