"""That a model combines its projections as their names say, shown by running it on one token.

`find_layers` goes by names and shapes. A model may still do more between two projections, or store a fused one in
another order, and then statistics of neurons would be wrong without a sign. One token decides: its attention can look
at nothing but itself, so what the output projection takes is its values, head by head (times a number where there are
attention sinks); and what a down projection takes is act(gate) * up. Cost: a forward pass of one token. Experts are
proven where they are measured, q and k by the maps that are computed from them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from seatools.engine.neuron_layers import FFN, Attention, Layers, activation_function
from seatools.engine.neuron_layout import ATTENTION_PARTS, PARTS
from seatools.streams.errors import SeaError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_TOLERANCES = {torch.float64: 1e-10, torch.float32: 1e-4}
_LOW_PRECISION = 3e-2


def prove_layers(model: PreTrainedModel, layers: Layers, parts: Sequence[str] = PARTS, *, token: int = 1) -> None:
    """Raise SeaError, naming class and module, for an FFN or an attention that is not what `layers` says.

    Of `parts` alone: FFNs can be measured where an attention is not known.
    """
    ffns = [ffn for ffn in layers.ffn if isinstance(ffn, FFN) and ffn.part in parts]
    attentions = layers.attention if any(part in ATTENTION_PARTS for part in parts) else ()
    decoder: Any = model.get_decoder()
    seen: dict[nn.Module, Tensor] = {}
    handles = []
    try:
        for module in _read(model, ffns, attentions, inputs=False):
            handles.append(module.register_forward_hook(_keep_output(seen)))
        taken: dict[nn.Module, Tensor] = {}
        for module in _read(model, ffns, attentions, inputs=True):
            handles.append(module.register_forward_pre_hook(_keep_input(taken)))
        with torch.inference_mode():
            decoder(input_ids=torch.tensor([[token]], device=model.device), use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    for ffn in ffns:
        _check_ffn(model, ffn, seen, taken)
    for attention in attentions:
        _check_values(attention, seen, taken)


def _read(
    model: PreTrainedModel, ffns: Sequence[FFN], attentions: Sequence[Attention], *, inputs: bool
) -> set[nn.Module]:
    if inputs:
        return {ffn.down for ffn in ffns} | {attention.o for attention in attentions}
    into = {model.get_submodule(view.name) for ffn in ffns for view in ffn.place.views[:-1]}
    return into | {attention.v.module for attention in attentions}


def _keep_output(seen: dict[nn.Module, Tensor]) -> Callable[..., None]:
    def hook(module: nn.Module, args: Any, output: Tensor) -> None:
        seen[module] = output

    return hook


def _keep_input(taken: dict[nn.Module, Tensor]) -> Callable[..., None]:
    def hook(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        taken[module] = args[0]

    return hook


def _check_ffn(model: PreTrainedModel, ffn: FFN, seen: dict[nn.Module, Tensor], taken: dict[nn.Module, Tensor]) -> None:
    act = activation_function(ffn.module)
    if act is None or ffn.gate not in seen or ffn.down not in taken:
        raise SeaError(f"{type(ffn.module).__name__} ({ffn.name}) did not run its projections on a token")
    expected = act(ffn.gate_take(seen[ffn.gate]))
    if ffn.gated:
        up = ffn.place.views[1]
        output = seen[model.get_submodule(up.name)]
        expected = expected * output[..., up.offset : up.offset + ffn.place.size]
    error = _distance(expected, taken[ffn.down])
    if not error <= _tolerance(expected):
        formula = "act(gate) * up" if ffn.gated else "act(fc1)"
        raise SeaError(
            f"{type(ffn.module).__name__} ({ffn.name}): {ffn.place.views[-1].name.rpartition('.')[2]} does not take "
            f"{formula} (off by {error:.2g}), so its neurons are not known"
        )


def _check_values(attention: Attention, seen: dict[nn.Module, Tensor], taken: dict[nn.Module, Tensor]) -> None:
    name = f"{type(attention.module).__name__} ({attention.name})"
    if attention.v.module not in seen or attention.o not in taken:
        raise SeaError(f"{name} did not run its projections on a token", fix="--parts ffn")
    values = attention.v.take(seen[attention.v.module]).reshape(attention.num_kv_heads, attention.head_dim)
    values = values.repeat_interleave(attention.num_heads // attention.num_kv_heads, dim=0).double()
    attended = taken[attention.o].reshape(attention.num_heads, attention.head_dim)
    tolerance, attended = _tolerance(attended), attended.double()
    share = (values * attended).sum(1, keepdim=True) / values.square().sum(1, keepdim=True).clamp(min=1e-300)
    error = _distance(values * share, attended)
    if not error <= tolerance or bool((share < 0).any()) or bool((share > 1 + tolerance).any()):
        raise SeaError(
            f"{name}: of one token its output projection does not take the values (off by {error:.2g}), so its "
            "neurons are not known",
            fix="--parts ffn",
        )


def _distance(a: Tensor, b: Tensor) -> float:
    """|| a - b || as a share of the larger of both; equal zeros are 0."""
    a, b = a.double(), b.double()
    return float((a - b).norm() / torch.maximum(a.norm(), b.norm()).clamp(min=1e-30))


def _tolerance(x: Tensor) -> float:
    return _TOLERANCES.get(x.dtype, _LOW_PRECISION)
