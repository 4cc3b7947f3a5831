"""Language-specific neurons: where they are in a model, their files, training selections, and a reversible off switch.

A neuron is one row of gate/up/q/k/v_proj (an output feature, with its bias entry) or one column of down/o_proj
(an input feature), as in PLND (arXiv 2402.18815, section 2); "off" means all its parameters are zero. Forward
hooks zero the feature instead of the weight: exact, nothing to restore, no copy of a matrix. A gate row, an up
row and a down column of the same index are the same switch, since act(0) = 0 (checked). Rows of k/v_proj are
indexed as the weight is, kv_head * head_dim + dim: no division by the number of query groups (papers.md 2.3).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from torch import nn
from transformers import PreTrainedModel

from seatools.streams.errors import SeaError, UsageError
from seatools.streams.tensors import load_tensors, read_header, save_tensors

FFN_PROJECTIONS = ("gate_proj", "up_proj", "down_proj")
ATTENTION_PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj")
COLUMN_PROJECTIONS = ("down_proj", "o_proj")  # their neurons are columns (dim 1); all others' are rows (dim 0)

FORMAT, FORMAT_VERSION = "sea-neurons", "1"
_SCORES = ".scores"
_NAME = re.compile(rf"(?:.+\.)?layers\.(\d+)\.(?:.+\.)?({'|'.join(FFN_PROJECTIONS + ATTENTION_PROJECTIONS)})")

Indices = Sequence[int] | np.ndarray | torch.Tensor


class Neurons(NamedTuple):
    """Neurons of one weight: `indices` int32 [n], ascending and unique; `scores` float32 [n] beside them."""

    indices: np.ndarray
    scores: np.ndarray


NeuronSet = dict[str, dict[str, Neurons]]  # lang -> weight name ("model.layers.3.mlp.down_proj") -> neurons


@dataclass(frozen=True)
class FFNLayer:
    """The gated FFN of decoder layer `index`: down(act(gate(x)) * up(x)); `name` as in `model.named_modules()`."""

    index: int
    name: str
    module: nn.Module
    gate: nn.Linear
    up: nn.Linear
    down: nn.Linear


@dataclass(frozen=True)
class AttentionLayer:
    """The attention of decoder layer `index`; `scaling` multiplies q.k before the softmax.

    `q_norm`/`k_norm` (QK-norm models, else None) act on the output of q/k, before RoPE; Qwen 3 and Gemma 3 norm
    each head. `module` carries what only some families have (sliding_window, attn_logit_softcapping).
    """

    index: int
    name: str
    module: nn.Module
    q: nn.Linear
    k: nn.Linear
    v: nn.Linear
    o: nn.Linear
    num_heads: int
    num_kv_heads: int
    head_dim: int
    scaling: float
    q_norm: nn.Module | None
    k_norm: nn.Module | None


def _owners(model: PreTrainedModel, projection: str) -> Iterable[tuple[int, str, nn.Module]]:
    """For each decoder layer: (index, name, the one module that has `projection` as a child)."""
    decoder = model.get_decoder()
    prefix = next(name for name, module in model.named_modules() if module is decoder)
    layers = getattr(decoder, "layers", None)
    if not isinstance(layers, nn.ModuleList):
        raise SeaError(f"{type(decoder).__name__} has no list of decoder layers called `layers`")
    for index, layer in enumerate(layers):
        base = f"{prefix}.layers.{index}" if prefix else f"layers.{index}"
        found = [(f"{base}.{name}", module) for name, module in layer.named_modules() if hasattr(module, projection)]
        if len(found) != 1:
            names = ", ".join(name for name, _ in found) or "none"
            raise SeaError(
                f"{type(layer).__name__} ({base}) should have exactly one module with {projection}; it has {names}",
                fix="fused, mixture-of-experts and ungated layers are not handled; use a model of the Llama layout",
            )
        yield index, *found[0]


def _linears(name: str, module: nn.Module, projections: Sequence[str]) -> list[nn.Linear]:
    linears = []
    for projection in projections:
        linear = getattr(module, projection, None)
        if not isinstance(linear, nn.Linear):
            fused = [child for child, _ in module.named_children() if child in ("gate_up_proj", "qkv_proj")]
            has = f"a fused {fused[0]}" if fused else "none" if linear is None else f"a {type(linear).__name__}"
            raise SeaError(
                f"{type(module).__name__} ({name}) should have a Linear called {projection}; it has {has}",
                fix="use a checkpoint of the Llama layout (separate gate/up/down and q/k/v/o)",
            )
        linears.append(linear)
    return linears


def ffn_layers(model: PreTrainedModel) -> list[FFNLayer]:
    """The gated FFN of every decoder layer. Raises SeaError, with class and module, for one that is not as expected."""
    layers = []
    for index, name, module in _owners(model, "down_proj"):
        gate, up, down = _linears(name, module, FFN_PROJECTIONS)
        width, hidden = gate.weight.shape
        if up.weight.shape != (width, hidden) or down.weight.shape != (hidden, width):
            shapes = ", ".join(str(tuple(linear.weight.shape)) for linear in (gate, up, down))
            raise SeaError(f"{type(module).__name__} ({name}): shapes {shapes} are not those of a gated FFN")
        activation = getattr(module, "act_fn", None)
        if activation is None or float(activation(torch.zeros(1))) != 0:
            raise SeaError(f"{type(module).__name__} ({name}) has no act_fn with act_fn(0) = 0, as a gate row needs")
        layers.append(FFNLayer(index, name, module, gate, up, down))
    return layers


def attention_layers(model: PreTrainedModel) -> list[AttentionLayer]:
    """The attention of every decoder layer. Raises SeaError, with class and module, for one not as expected."""
    layers = []
    for index, name, module in _owners(model, "o_proj"):
        q, k, v, o = _linears(name, module, ATTENTION_PROJECTIONS)
        head_dim, scaling = getattr(module, "head_dim", None), getattr(module, "scaling", None)
        if not isinstance(head_dim, int) or not isinstance(scaling, int | float):
            raise SeaError(f"{type(module).__name__} ({name}) does not tell its head_dim and scaling")
        num_heads, num_kv_heads = q.out_features // head_dim, k.out_features // head_dim
        whole = q.out_features == num_heads * head_dim and k.out_features == num_kv_heads * head_dim
        if not whole or num_heads % num_kv_heads or v.out_features != k.out_features or o.in_features != q.out_features:
            sizes = f"q {q.out_features}, k {k.out_features}, v {v.out_features}, o {o.in_features}"
            raise SeaError(f"{type(module).__name__} ({name}): {sizes} do not fit heads of {head_dim}")
        norms = getattr(module, "q_norm", None), getattr(module, "k_norm", None)
        heads = num_heads, num_kv_heads, head_dim, float(scaling)
        layers.append(AttentionLayer(index, name, module, q, k, v, o, *heads, *norms))
    return layers


def architecture(model: PreTrainedModel) -> dict[str, Any]:
    """What neuron indices depend on: model type and sizes. The vocabulary is left out, it may grow."""
    config = model.config.get_text_config(decoder=True)
    heads = config.num_attention_heads
    return {
        "model_type": config.model_type,
        "hidden_size": config.hidden_size,
        "intermediate_size": getattr(config, "intermediate_size", None),
        "num_hidden_layers": config.num_hidden_layers,
        "num_attention_heads": heads,
        "num_key_value_heads": getattr(config, "num_key_value_heads", None) or heads,
        "head_dim": getattr(config, "head_dim", None) or config.hidden_size // heads,
    }


def neuron_metadata(
    model: PreTrainedModel, *, method: str, thresholds: Mapping[str, Any], model_digest: str, corpora: Mapping[str, str]
) -> dict[str, str]:
    """The metadata of a neuron file: `thresholds` as the method's options, `corpora` lang -> digest of its text."""
    shape = architecture(model)
    return {
        "method": method,
        "thresholds": json.dumps(thresholds, sort_keys=True),
        "model_digest": model_digest,
        "model_type": shape["model_type"],
        "architecture": json.dumps(shape, sort_keys=True),
        "corpora": json.dumps(corpora, sort_keys=True),
    }


def save_neurons(target: str | Path | IO[bytes], sets: NeuronSet, metadata: Mapping[str, str]) -> None:
    """Write `sets` as safetensors, `th/model.layers.3.mlp.down_proj` int32 and the same `.scores` float32.

    `metadata` is that of `neuron_metadata` (further string entries are kept); format and counts are added.
    Raises SeaError for sets that `load_neurons` would refuse.
    """
    where = str(target) if isinstance(target, str | Path) else "neurons"
    _check_sets(sets, _sizes(metadata, where), where)
    tensors = {}
    for lang, weights in sets.items():
        for name, neurons in weights.items():
            tensors[f"{lang}/{name}"] = neurons.indices
            tensors[f"{lang}/{name}{_SCORES}"] = neurons.scores
    counts = {lang: _count(weights) for lang, weights in sets.items()}
    marks = {"format": FORMAT, "format_version": FORMAT_VERSION, "counts": json.dumps(counts, sort_keys=True)}
    save_tensors(target, tensors, {**metadata, **marks})


def load_neurons(path: str | Path) -> tuple[NeuronSet, dict[str, str]]:
    """Read a neuron file. Raises SeaError, with the path, for a foreign or damaged file and for wrong indices."""
    _, metadata, _ = read_header(path)
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        raise SeaError(f"{path}: not a neuron file", fix="make one with `sea lsn-detect`")
    if metadata.get("format_version") != FORMAT_VERSION:
        raise SeaError(f"{path}: neuron format {metadata.get('format_version')}; this version reads {FORMAT_VERSION}")
    try:
        tensors, _ = load_tensors(path)
    except SafetensorError as error:
        raise SeaError(f"{path}: not a valid safetensors file: {error}", fix="fetch or make it again") from error
    counts = _json_object(metadata, "counts", path)
    sets: NeuronSet = {lang: {} for lang in counts}  # a language without any neuron has no tensor
    for key, indices in tensors.items():
        if key.endswith(_SCORES):
            if key.removesuffix(_SCORES) not in tensors:
                raise SeaError(f'{path}: "{key}" has no indices beside it')
            continue
        lang, _, name = key.partition("/")
        scores = tensors.get(key + _SCORES)
        if scores is None:
            raise SeaError(f'{path}: "{key}" has no scores beside it')
        sets.setdefault(lang, {})[name] = Neurons(indices, scores)
    _check_sets(sets, _sizes(metadata, str(path)), str(path))
    if counts != {lang: _count(weights) for lang, weights in sets.items()}:
        raise SeaError(f"{path}: its tensors do not hold the neurons that its metadata counts", fix="make it again")
    return sets, metadata


def check_architecture(metadata: Mapping[str, str], model: PreTrainedModel) -> None:
    """Refuse neurons of another architecture than `model`'s, with both in the message."""
    theirs, ours = _json_object(metadata, "architecture", "neurons"), architecture(model)
    if theirs != ours:
        raise SeaError(
            f"neurons of another architecture: they are of {_spelled(theirs)}, the model is {_spelled(ours)}",
            fix="detect neurons on this model with `sea lsn-detect`",
        )


def union(sets: NeuronSet, langs: Iterable[str]) -> dict[str, np.ndarray]:
    """The neurons of any of `langs`, weight name -> int32 indices. Raises UsageError for a language not in `sets`."""
    merged: dict[str, np.ndarray] = {}
    for lang in langs:
        if lang not in sets:
            raise UsageError(f'no neurons of language "{lang}"; there are {", ".join(sorted(sets)) or "none"}')
        for name, neurons in sets[lang].items():
            merged[name] = np.union1d(merged.get(name, neurons.indices), neurons.indices)
    return merged


def selections(model: PreTrainedModel, weights: Mapping[str, Indices]) -> list[tuple[str, int, torch.Tensor]]:
    """What training these neurons trains: (parameter name, dim, index int64 [n] on the parameter's device).

    Dim 0 are rows of a weight and entries of its bias, dim 1 columns; in the order of the model's parameters.
    """
    chosen = {}
    for name, (linear, index) in _resolve(model, weights).items():
        dim = 1 if name.endswith(COLUMN_PROJECTIONS) else 0
        chosen[f"{name}.weight"] = (dim, index)
        if linear.bias is not None and dim == 0:
            chosen[f"{name}.bias"] = (0, index)
    return [(name, *chosen[name]) for name, _ in model.named_parameters() if name in chosen]


class Deactivated:
    """`with Deactivated(model, {"model.layers.3.mlp.down_proj": indices}):` runs the model without these neurons.

    Equal to zeroing the rows (with bias) and columns, before RoPE and before any QK-norm; weights are untouched,
    and leaving the context, also by an exception, takes the hooks away.
    """

    def __init__(self, model: PreTrainedModel, weights: Mapping[str, Indices]) -> None:
        self._model = model
        self._weights = _resolve(model, weights)
        self._handles: list[torch.utils.hooks.RemovableHandle] = []

    def __enter__(self) -> Deactivated:
        if self._handles:
            raise RuntimeError("these neurons are switched off already; make a second Deactivated to nest")
        inputs: dict[str, list[torch.Tensor]] = {}
        for name, (linear, index) in self._weights.items():
            owner, _, projection = name.rpartition(".")
            if projection in FFN_PROJECTIONS:
                inputs.setdefault(f"{owner}.down_proj", []).append(index)
            elif projection == "o_proj":
                inputs.setdefault(name, []).append(index)
            else:
                self._handles.append(linear.register_forward_hook(_zero_output(index)))
        for name, indices in inputs.items():
            module = self._model.get_submodule(name)
            self._handles.append(module.register_forward_pre_hook(_zero_input(torch.cat(indices).unique())))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._handles:
            self._handles.pop().remove()


def _zero_output(index: torch.Tensor) -> Callable[..., torch.Tensor]:
    def hook(module: nn.Module, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        return output.index_fill(-1, index, 0)

    return hook


def _zero_input(index: torch.Tensor) -> Callable[..., tuple[torch.Tensor, ...]]:
    def hook(module: nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return (args[0].index_fill(-1, index, 0), *args[1:])

    return hook


def _resolve(model: PreTrainedModel, weights: Mapping[str, Indices]) -> dict[str, tuple[nn.Linear, torch.Tensor]]:
    """Each named weight's Linear and its index (int64, ascending, unique, on its device); empty ones are left out."""
    linears: dict[str, nn.Linear] = {}
    if any(name.endswith(FFN_PROJECTIONS) for name in weights):
        for ffn in ffn_layers(model):
            linears |= {f"{ffn.name}.{p}": getattr(ffn.module, p) for p in FFN_PROJECTIONS}
    if any(name.endswith(ATTENTION_PROJECTIONS) for name in weights):
        for attention in attention_layers(model):
            linears |= {f"{attention.name}.{p}": getattr(attention.module, p) for p in ATTENTION_PROJECTIONS}
    resolved = {}
    for name, indices in weights.items():
        if name not in linears:
            raise SeaError(f'{type(model).__name__} has no weight "{name}" that holds neurons')
        linear = linears[name]
        index = torch.as_tensor(indices, dtype=torch.int64).cpu().unique()
        size = linear.in_features if name.endswith(COLUMN_PROJECTIONS) else linear.out_features
        if len(index) and not 0 <= int(index[0]) <= int(index[-1]) < size:
            wrong = int(index[0]) if index[0] < 0 else int(index[-1])
            raise SeaError(f'neuron {wrong} of "{name}" is out of range: it has {size:,}')
        if len(index):
            resolved[name] = (linear, index.to(linear.weight.device))
    return resolved


def _sizes(metadata: Mapping[str, str], where: str) -> dict[str, int]:
    """Projection -> number of its neurons, and "layers" -> number of layers, from the architecture in `metadata`."""
    shape = _json_object(metadata, "architecture", where)
    try:
        ffn = int(shape["intermediate_size"])
        queries = int(shape["num_attention_heads"]) * int(shape["head_dim"])
        keys = int(shape["num_key_value_heads"]) * int(shape["head_dim"])
        sizes = dict.fromkeys(FFN_PROJECTIONS, ffn) | {"q_proj": queries, "o_proj": queries}
        return sizes | {"k_proj": keys, "v_proj": keys, "layers": int(shape["num_hidden_layers"])}
    except (KeyError, TypeError, ValueError) as error:
        raise SeaError(f"{where}: the architecture in its metadata lacks sizes ({error})") from error


def _check_sets(sets: NeuronSet, sizes: Mapping[str, int], where: str) -> None:
    for lang, weights in sets.items():
        if not lang or "/" in lang:
            raise SeaError(f'{where}: "{lang}" is not a language')
        for name, (indices, scores) in weights.items():
            match = _NAME.fullmatch(name)
            if match is None or int(match[1]) >= sizes["layers"]:
                raise SeaError(f'{where}: "{lang}/{name}" is not a weight with neurons of its architecture')
            if indices.dtype != np.int32 or indices.ndim != 1 or scores.dtype != np.float32:
                raise SeaError(f'{where}: "{lang}/{name}" is not one row of int32 with float32 scores')
            if scores.shape != indices.shape or not np.isfinite(scores).all():
                raise SeaError(f'{where}: "{lang}/{name}" needs one finite score per neuron')
            if (indices[1:] <= indices[:-1]).any():
                raise SeaError(f'{where}: the indices of "{lang}/{name}" are not ascending or repeat')
            size = sizes[match[2]]
            if len(indices) and not 0 <= indices[0] <= indices[-1] < size:
                wrong = indices[0] if indices[0] < 0 else indices[-1]
                raise SeaError(f'{where}: neuron {wrong} of "{lang}/{name}" is out of range: it has {size:,}')


def _count(weights: Mapping[str, Neurons]) -> int:
    return sum(len(neurons.indices) for neurons in weights.values())


def _json_object(metadata: Mapping[str, str], key: str, where: str | Path) -> dict[str, Any]:
    try:
        value = json.loads(metadata[key])
    except (KeyError, TypeError, ValueError) as error:
        raise SeaError(f'{where}: its metadata has no valid "{key}"') from error
    if not isinstance(value, dict):
        raise SeaError(f'{where}: its metadata has no valid "{key}"')
    return value


def _spelled(shape: Mapping[str, Any]) -> str:
    sizes = ", ".join(f"{key} {value}" for key, value in shape.items() if key != "model_type")
    return f"{shape.get('model_type')} ({sizes})"
