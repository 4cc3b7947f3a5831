"""Files of language-specific neurons, in numpy alone: which neurons of which weights belong to a language.

A neuron of a weight is one output feature of a projection into a place (gate, up, q, k, v: a row, with its bias entry)
or one input feature of one out of it (down, o: a column), as in PLND (arXiv 2402.18815, section 2); "off" means that
all its parameters are zero. Indices are those of the stored weight's own axis, also of a fused one, and of k and v
kv_head * head_dim + dim: no division by the number of query groups (papers.md 2.3). The metadata keeps the length of
every such axis, so a file can be checked, and written from statistics, without its model.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np

from seatools.engine.neuron_layout import Place, axis_sizes
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.parsed import parse_json
from seatools.streams.tensors import load_tensors, read_header, save_tensors

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FORMAT, FORMAT_VERSION = "sea-neurons", "2"
_SCORES = ".scores"
_WIDTHS = ("intermediate_size", "ffn_dim", "n_inner", "ffn_hidden_size")  # as configs call the width of the FFN
_OF_EXPERTS = ("moe_intermediate_size", "shared_expert_intermediate_size")
_NUM_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts")


class Neurons(NamedTuple):
    """Neurons of one weight: `indices` int32 [n], ascending and unique; `scores` float32 [n] beside them."""

    indices: np.ndarray
    scores: np.ndarray


NeuronSet = dict[str, dict[str, Neurons]]  # lang -> weight name ("model.layers.3.mlp.down_proj") -> neurons


def architecture(model: PreTrainedModel) -> dict[str, Any]:
    """What neuron indices depend on: model type and sizes. The vocabulary is left out, it may grow."""
    config: Any = model.config.get_text_config(decoder=True)

    def first(names: Iterable[str]) -> Any:
        return next((value for name in names if (value := getattr(config, name, None)) is not None), None)

    heads = getattr(config, "num_attention_heads", None)
    shape = {
        "model_type": config.model_type,
        "hidden_size": config.hidden_size,
        "intermediate_size": first(_WIDTHS),
        "num_hidden_layers": config.num_hidden_layers,
        "num_attention_heads": heads,
        "num_key_value_heads": getattr(config, "num_key_value_heads", None) or heads,
        "head_dim": getattr(config, "head_dim", None) or (config.hidden_size // heads if heads else None),
    }
    num_experts = first(_NUM_EXPERTS)
    if num_experts:
        shape["num_experts"] = num_experts
        shape |= {name: value for name in _OF_EXPERTS if (value := getattr(config, name, None)) is not None}
    return shape


def neuron_metadata(
    *,
    architecture: Mapping[str, Any],
    places: Sequence[Place],
    num_parameters: int,
    method: str,
    thresholds: Mapping[str, Any],
    model_digest: str,
    corpora: Mapping[str, str],
) -> dict[str, str]:
    """The metadata of a neuron file: `architecture` and `places` of its model (every weight that the file may name),
    `thresholds` as the method's options, `corpora` lang -> digest of its text."""
    return {
        "method": method,
        "thresholds": json.dumps(thresholds, sort_keys=True),
        "model_digest": model_digest,
        "model_type": str(architecture["model_type"]),
        "architecture": json.dumps(architecture, sort_keys=True),
        "num_parameters": str(num_parameters),
        "sizes": json.dumps(axis_sizes(places), sort_keys=True),
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
        raise SeaError(
            f"{path}: neuron format {metadata.get('format_version')}; this version reads {FORMAT_VERSION}",
            fix="make it again with `sea lsn-detect`",
        )
    tensors, _ = load_tensors(path)
    counts = _json_object(metadata, "counts", path)
    if "model_type" not in _json_object(metadata, "architecture", path):
        raise SeaError(f"{path}: the architecture in its metadata lacks the model's type")
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


def check_architecture(metadata: Mapping[str, str], model: PreTrainedModel | Mapping[str, Any]) -> None:
    """Refuse neurons of another architecture than that of `model` (or of its `architecture`), telling both."""
    theirs = _json_object(metadata, "architecture", "neurons")
    ours = model if isinstance(model, Mapping) else architecture(model)
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


def _sizes(metadata: Mapping[str, str], where: str) -> dict[str, int]:
    """Weight name -> number of neurons on its axis."""
    sizes = _json_object(metadata, "sizes", where)
    if not all(type(size) is int and size > 0 for size in sizes.values()):
        raise SeaError(f'{where}: its metadata has no valid "sizes"')
    return sizes


def _check_sets(sets: NeuronSet, sizes: Mapping[str, int], where: str) -> None:
    for lang, weights in sets.items():
        if not lang or "/" in lang:
            raise SeaError(f'{where}: "{lang}" is not a language')
        for name, (indices, scores) in weights.items():
            if name not in sizes:
                raise SeaError(f'{where}: "{lang}/{name}" is not a weight with neurons of its architecture')
            if indices.dtype != np.int32 or indices.ndim != 1 or scores.dtype != np.float32:
                raise SeaError(f'{where}: "{lang}/{name}" is not one row of int32 with float32 scores')
            if scores.shape != indices.shape or not np.isfinite(scores).all():
                raise SeaError(f'{where}: "{lang}/{name}" needs one finite score per neuron')
            if (indices[1:] <= indices[:-1]).any():
                raise SeaError(f'{where}: the indices of "{lang}/{name}" are not ascending or repeat')
            size = sizes[name]
            if len(indices) and not 0 <= indices[0] <= indices[-1] < size:
                wrong = indices[0] if indices[0] < 0 else indices[-1]
                raise SeaError(f'{where}: neuron {wrong} of "{lang}/{name}" is out of range: it has {size:,}')


def _count(weights: Mapping[str, Neurons]) -> int:
    return sum(len(neurons.indices) for neurons in weights.values())


def _json_object(metadata: Mapping[str, str], key: str, where: str | Path) -> dict[str, Any]:
    try:
        value = parse_json(metadata[key])
    except (KeyError, TypeError, ValueError) as error:
        raise SeaError(f'{where}: its metadata has no valid "{key}"') from error
    if not isinstance(value, dict):
        raise SeaError(f'{where}: its metadata has no valid "{key}"')
    return value


def _spelled(shape: Mapping[str, Any]) -> str:
    sizes = ", ".join(f"{key} {value}" for key, value in shape.items() if key != "model_type")
    return f"{shape.get('model_type')} ({sizes})"
