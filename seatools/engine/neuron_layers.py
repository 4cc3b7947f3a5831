"""The FFNs and attentions of any Hugging Face decoder, found by the names and shapes of their projections.

What is found is what statistics hook, what `Deactivated` switches off and what `sea train --neurons` trains, so that
the three mean the same neuron. Fused projections are split, Conv1D (GPT-2, transposed) is read as a Linear, all
experts of a layer are one place. A gate row, an up row and a down column are one switch since act(0) = 0 (checked), an
fc1 row with its bias entry and an fc2 column likewise; a norm between them would break that and is refused. Detection
reads names, shapes and the config, never a weight: a look of a few milliseconds. That the projections are combined as
their names say, `layer_proof.prove_layers` shows by one token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from seatools.engine.attention_projections import Attention, Projection, find_attention
from seatools.engine.feature_axes import in_features, is_projection, out_features, row_parameters, weight_matrix
from seatools.engine.neuron_layout import ATTENTION_PARTS, PARTS, Place, WeightView
from seatools.streams.errors import SeaError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["FFN", "Attention", "Experts", "Layers", "Projection", "find_layers"]


class _Names(NamedTuple):
    """Children of a module that make it an FFN; `up` None: ungated, `up` equal to `gate`: fused, the gate first."""

    gate: str
    up: str | None
    down: str


_LAYOUTS = (
    _Names("gate_proj", "up_proj", "down_proj"),
    _Names("gate_up_proj", "gate_up_proj", "down_proj"),  # Phi-3, GLM
    _Names("w1", "w3", "w2"),  # LFM 2, InternLM
    _Names("fc1", None, "fc2"),  # OPT, Phi
    _Names("c_fc", None, "c_proj"),  # GPT-2, GPT-BigCode, StarCoder 2
    _Names("dense_h_to_4h", None, "dense_4h_to_h"),  # GPT-NeoX, BLOOM, Falcon
    _Names("fc_in", None, "fc_out"),  # GPT-J
    _Names("up_proj", None, "down_proj"),  # Nemotron, MPT
)
_ACTIVATIONS = ("act_fn", "activation_fn", "act", "gelu_impl", "activation")
_POST_NORMS = ("post_feedforward_layernorm", "post_mlp_layernorm")  # Gemma 2 and 3, OLMo 2; GLM 4


@dataclass(frozen=True)
class FFN:
    """down(a), a = act(gate(x)) * up(x), or a = act(fc1(x)) where it is not `gated`."""

    layer: int
    part: str
    """"ffn", or "shared" for the shared expert of a mixture of experts."""
    name: str
    module: nn.Module
    gate: nn.Module
    gate_take: Callable[[Tensor], Tensor]
    """The pre-activation [.., d_ff] from the output of `gate`: all of it, or the half of a fused one."""
    down: nn.Module
    """Its input is the neurons' activation a [.., d_ff]."""
    gated: bool
    activation: str | None
    """The name of the activation function, as transformers spells it; None: not one that is known."""
    post_norm: nn.Module | None
    """The norm on the block's output, before it is added to the residual (Gemma 2, OLMo 2 ...)."""
    place: Place
    output_gate: nn.Module | None = None
    """What says, through a sigmoid, how much of a shared expert's output is taken (Qwen 2 MoE), from the same input."""

    def down_weight(self) -> Tensor:
        """The weight out of the neurons, [D, d_ff]."""
        return weight_matrix(self.down)


@dataclass(frozen=True)
class Experts:
    """All experts of a layer in one module: gate_up_proj [E, 2 f, D] and down_proj [E, D, f] (transformers 5).

    Its forward takes (hidden [N, D], top_k_index [N, k], top_k_weights [N, k]). Neuron i of expert e is e * f + i.
    """

    layer: int
    part: str
    name: str
    module: nn.Module
    num_experts: int
    width: int
    activation: str | None
    place: Place
    post_norm: nn.Module | None = None


@dataclass(frozen=True)
class Layers:
    """What `find_layers` found; `no_attention`: why attention is not handled, a sentence, else None."""

    ffn: tuple[FFN | Experts, ...]
    attention: tuple[Attention, ...]
    no_attention: str | None
    owner: str
    """The class of the model, for messages."""

    def places(self, parts: Sequence[str] = PARTS) -> tuple[Place, ...]:
        """The places of `parts`, layer by layer in the order of PARTS. SeaError for a part that is not handled."""
        unknown = [part for part in parts if part not in PARTS]
        if unknown:
            raise SeaError(f'"{unknown[0]}" is not a part', fix=f"one of {', '.join(PARTS)}")
        wanted = [part for part in parts if part in ATTENTION_PARTS]
        if wanted and self.no_attention is not None:
            raise SeaError(self.no_attention, fix="--parts ffn")
        found = [ffn.place for ffn in self.ffn if ffn.part in parts]
        for part in ("ffn", "shared"):
            if part in parts and not any(place.part == part for place in found):
                raise SeaError(f"{self.owner} has no shared expert", fix="leave `shared` out of --parts")
        found += [attention.places[part] for attention in self.attention for part in wanted]
        return tuple(sorted(found, key=lambda place: (place.layer, PARTS.index(place.part))))

    def all_places(self) -> tuple[Place, ...]:
        """Every place that is handled."""
        there = {ffn.part for ffn in self.ffn} | (set() if self.no_attention else set(ATTENTION_PARTS))
        return self.places([part for part in PARTS if part in there])


def find_layers(model: PreTrainedModel) -> Layers:
    """FFN and attention of every decoder layer of `model`.

    Raises SeaError, naming class and module, for a layer without an FFN that is known; attention that is not known is
    told in `no_attention`.
    """
    config: Any = model.config.get_text_config(decoder=True)
    layers = list(_decoder_layers(model, config))
    ffn = [found for index, name, layer in layers for found in _ffns(index, name, layer, config)]
    attention: list[Attention] = []
    why: str | None = None
    for index, name, layer in layers:
        found = find_attention(index, name, layer, config)
        if isinstance(found, str):
            attention, why = [], found
            break
        attention.append(found)
    return Layers(tuple(ffn), tuple(attention), why, type(model).__name__)


def _decoder_layers(model: PreTrainedModel, config: Any) -> Iterator[tuple[int, str, nn.Module]]:
    """(index, name, module) of each layer of the text decoder."""
    decoder: Any = model.get_decoder()
    prefix = next((name for name, module in model.named_modules() if module is decoder), "")
    number = config.num_hidden_layers
    for name, child in decoder.named_children():
        if isinstance(child, nn.ModuleList) and len(child) == number and name in ("layers", "h", "blocks", "block"):
            base = f"{prefix}.{name}" if prefix else name
            for index, layer in enumerate(child):
                yield index, f"{base}.{index}", layer
            return
    raise SeaError(
        f"{type(model).__name__}: {type(decoder).__name__} has no list of its {number} decoder layers",
        fix="use a decoder of transformers' own",
    )


def _ffns(index: int, base: str, layer: nn.Module, config: Any) -> list[FFN | Experts]:
    named = [(f"{base}.{name}" if name else base, module) for name, module in layer.named_modules()]
    experts = [(name, module) for name, module in named if _has_experts(module)]
    plain = [(name, module, names) for name, module in named if (names := _names(module)) is not None]
    if len(experts) > 1 or len(plain) > 1 or not (experts or plain):
        has = ", ".join(f"{type(m).__name__} ({n})" for n, m in [*experts, *((n, m) for n, m, _ in plain)])
        kinds = ", ".join(f"{type(module).__name__} ({name})" for name, module in layer.named_children())
        raise SeaError(
            f"{type(layer).__name__} ({base}) should have one FFN; known ones in it: {has or f'none, of {kinds}'}",
            fix="a model whose layers have gate/up/down, gate_up/down, fc1/fc2 or fused experts",
        )
    found: list[FFN | Experts] = []
    post_norm = next((norm for name in _POST_NORMS if (norm := getattr(layer, name, None)) is not None), None)
    for name, module in experts:
        found.append(_experts(index, name, module, config, post_norm))
    for name, module, names in plain:
        part = "shared" if experts else "ffn"
        ffn = _ffn(index, part, name, module, names, config, post_norm, owner=layer)
        mixture = dict(named).get(name.rpartition(".")[0])
        found.append(replace(ffn, output_gate=getattr(mixture, "shared_expert_gate", None)))
    return found


def _names(module: nn.Module) -> _Names | None:
    children = {name for name, child in module.named_children() if is_projection(child)}
    for names in _LAYOUTS:
        if {names.gate, names.down} <= children and (names.up is None or names.up in children):
            return names
    return None


def _ffn(
    index: int, part: str, name: str, module: nn.Module, names: _Names, config: Any, post_norm: nn.Module | None,
    *, owner: nn.Module,
) -> FFN:  # fmt: skip
    gate, down = getattr(module, names.gate), getattr(module, names.down)
    up = None if names.up is None else getattr(module, names.up)
    width, hidden, fused = in_features(down), out_features(down), up is gate
    into = [gate] if up is None or fused else [gate, up]
    wide = (2 if fused else 1) * width
    if any(out_features(linear) != wide or in_features(linear) != hidden for linear in into):
        shapes = ", ".join(f"{in_features(linear)} to {out_features(linear)}" for linear in (*into, down))
        raise SeaError(f"{type(module).__name__} ({name}): projections of {shapes} are not those of an FFN")
    if module is not owner:  # OPT's FFN stands in the layer itself, beside the layer's norms
        norms = [child for child, _ in module.named_children() if "norm" in child.lower()]
        if norms:
            raise SeaError(f"{type(module).__name__} ({name}) norms its activations ({norms[0]}): it is not handled")
    _check_sliced(module, name)
    activation = _activation(module, name, config)
    rows, columns = row_parameters(gate), hidden
    views = [WeightView(f"{name}.{names.gate}", wide, rows)]
    if fused:
        views.append(WeightView(f"{name}.{names.gate}", wide, rows, offset=width))
    elif up is not None:
        views.append(WeightView(f"{name}.{names.up}", width, row_parameters(up)))
    views.append(WeightView(f"{name}.{names.down}", width, columns))
    place = Place(index, part, width, tuple(views))
    take = _first(width) if fused else _whole
    return FFN(index, part, name, module, gate, take, down, up is not None, activation, post_norm, place)


def _has_experts(module: nn.Module) -> bool:
    own = dict(module.named_parameters(recurse=False))
    return all(name in own and own[name].ndim == 3 for name in ("gate_up_proj", "down_proj"))


def _experts(index: int, name: str, module: Any, config: Any, post_norm: nn.Module | None) -> Experts:
    gate_up, down = tuple(module.gate_up_proj.shape), tuple(module.down_proj.shape)
    number, hidden, width = down
    others = {key for key, _ in module.named_parameters()} - {"gate_up_proj", "down_proj"}
    flags = getattr(module, "is_transposed", False) or not getattr(module, "is_concatenated", True)
    if flags or others or gate_up != (number, 2 * width, hidden):
        has = f"gate_up_proj {list(gate_up)}, down_proj {list(down)}" + "".join(f", {key}" for key in sorted(others))
        raise SeaError(
            f"{type(module).__name__} ({name}): experts with {has} are not handled",
            fix="a mixture with gate_up_proj [E, 2 f, D] and down_proj [E, D, f] and no biases",
        )
    activation = _activation(module, name, config)
    views = (
        WeightView(f"{name}.gate_up_proj", number * 2 * width, hidden, 0, width, 2 * width),
        WeightView(f"{name}.gate_up_proj", number * 2 * width, hidden, width, width, 2 * width),
        WeightView(f"{name}.down_proj", number * width, hidden),
    )
    place = Place(index, "ffn", number * width, views, number)
    return Experts(index, "ffn", name, module, number, width, activation, place, post_norm)


def _check_sliced(module: nn.Module, name: str) -> None:
    if getattr(module, "slow_but_exact", False) and getattr(module, "pretraining_tp", 1) > 1:
        raise SeaError(f"{type(module).__name__} ({name}) multiplies in slices (slow_but_exact), which no hook sees")


def activation_function(module: nn.Module) -> Callable[[Tensor], Tensor] | None:
    """The activation function that an FFN or experts module holds, if it holds one."""
    return next((act for name in _ACTIVATIONS if callable(act := getattr(module, name, None))), None)


def _activation(module: nn.Module, name: str, config: Any) -> str | None:
    """The name of the module's activation. SeaError where act(0) is not 0: zeroed weights would not be off."""
    act = activation_function(module)
    own = next(act.parameters(), None) if isinstance(act, nn.Module) else None
    if act is None or float(act(torch.zeros(1, device=None if own is None else own.device))) != 0:
        has = "no activation function that is known" if act is None else f"an activation {act} with act(0) != 0"
        raise SeaError(f"{type(module).__name__} ({name}) has {has}: a neuron with zero weights would not be off")
    return activation_name(act, config)


def activation_name(act: Any, config: Any) -> str | None:
    """The name of `act`: the config's, if that names this function, else the first that transformers has for it."""
    from transformers.activations import ACT2CLS

    def kind(entry: Any) -> tuple[Any, dict[str, Any]]:
        return entry if isinstance(entry, tuple) else (entry, {})

    said = [
        getattr(config, key, None) for key in ("hidden_activation", "hidden_act", "activation_function", "activation")
    ]
    for name in [*(name for name in said if isinstance(name, str)), *ACT2CLS]:
        if name in ACT2CLS and kind(ACT2CLS[name])[0] is type(act):
            return name
    return {"BloomGelu": "gelu_fast", "GELU": "gelu"}.get(type(act).__name__)


def _whole(output: Tensor) -> Tensor:
    return output


def _first(width: int) -> Callable[[Tensor], Tensor]:
    return lambda output: output[..., :width]
