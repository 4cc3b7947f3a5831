"""A model as arithmetic sees it: the shapes of its weights, and how much of each `--train` trains.

Shapes come from safetensors headers, or from config.json alone for a fresh model of the Llama layout. A file without a
head has it tied. The rules for what is trained are those of `trained_parts.py`, which has the model itself.
Cost: one header a file; no torch.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seatools.engine.flops import EMBEDDINGS, HEADS, layer_of
from seatools.engine.new_rows import new_row_ids
from seatools.engine.train_spec import TrainSpec
from seatools.streams.errors import SeaError
from seatools.streams.tensors import map_tensors
from seatools.streams.weight_headers import file_tensors, read_json_object, vocabulary_config, weight_files

Shapes = dict[str, tuple[int, ...]]
# Buffers that older versions wrote into checkpoints and that every version computes by itself.
_COMPUTED = re.compile(r"(^|\.)(rotary_emb\.inv_freq|attn\.(masked_)?bias|attention\.(masked_)?bias)$")
# Projections whose neurons are input features, by the names that `engine.neuron_layers` looks for.
_COLUMNS = re.compile(r"(down_proj|o_proj|out_proj|c_proj|dense|dense_4h_to_h|fc2|fc_out|w2)$")
_TRANSPOSED = ("gpt2",)  # their weights are Conv1D's, [in, out]


@dataclass(frozen=True)
class Part:
    """What is trained of one weight: `count` numbers; `dim` 0: rows, 1: columns, None: all of it.

    Rows are output features, also where a weight is stored transposed."""

    count: int
    dim: int | None = None


def text_config(model_path: Path) -> dict[str, Any]:
    """The part of config.json that speaks of the text model."""
    file = model_path / "config.json" if model_path.is_dir() else model_path
    return vocabulary_config(read_json_object(file))


def model_shapes(model_path: Path, *, from_config: bool = False) -> Shapes:
    """Parameter name -> shape, a tied head not among them. Raises SeaError for a folder without weights, or for a
    config that does not tell the sizes of the Llama layout."""
    if from_config:
        return _shapes_by_config(text_config(model_path), str(model_path))
    files, _ = weight_files(model_path)
    shapes = {tensor.name: tensor.shape for name in files for tensor in file_tensors(model_path / name)}
    shapes = {name: shape for name, shape in shapes.items() if not _COMPUTED.search(name)}
    if text_config(model_path).get("tie_word_embeddings"):  # stored nevertheless, by an older version
        shapes = {name: shape for name, shape in shapes.items() if not name.endswith(HEADS)}
    return shapes


def _shapes_by_config(config: Mapping[str, Any], where: str) -> Shapes:
    try:
        width, ffn, layers = (int(config[key]) for key in ("hidden_size", "intermediate_size", "num_hidden_layers"))
        vocabulary, heads = int(config["vocab_size"]), int(config["num_attention_heads"])
    except (KeyError, TypeError, ValueError) as error:
        raise SeaError(f"config.json does not tell the size of the model ({error})", where=where) from error
    head = int(config.get("head_dim") or width // heads)
    queries, keys = heads * head, int(config.get("num_key_value_heads") or heads) * head
    shapes: Shapes = {"model.embed_tokens.weight": (vocabulary, width)}
    for layer in range(layers):
        base = f"model.layers.{layer}"
        for name, rows, columns in (
            ("q", queries, width),
            ("k", keys, width),
            ("v", keys, width),
            ("o", width, queries),
        ):
            shapes[f"{base}.self_attn.{name}_proj.weight"] = (rows, columns)
        for name, rows, columns in (("gate", ffn, width), ("up", ffn, width), ("down", width, ffn)):
            shapes[f"{base}.mlp.{name}_proj.weight"] = (rows, columns)
        for name in ("input_layernorm", "post_attention_layernorm"):
            shapes[f"{base}.{name}.weight"] = (width,)
    shapes["model.norm.weight"] = (width,)
    if not config.get("tie_word_embeddings", str(config.get("model_type", "")).startswith("gemma")):
        shapes["lm_head.weight"] = (vocabulary, width)
    return shapes


def planned_parts(
    shapes: Shapes,
    spec: TrainSpec,
    *,
    model_path: Path,
    neuron_langs: Sequence[str] = (),
    first_new_row: int | None = None,
    vocab_size: int | None = None,
) -> dict[str, Part]:
    """What `spec` trains, by parameter name; what is not in it is frozen.

    `vocab_size`: of the tokenizer; new rows are those from `first_new_row` to it. Errors: `new_row_ids`, and SeaError
    where nothing is trained.
    """
    whole = {name for name in shapes if spec.all or (spec.embeddings and _is_vocabulary(name))}
    numbers = set(spec.layer_numbers())
    whole |= {name for name in shapes if layer_of(name) in numbers}
    chosen: dict[str, tuple[int, np.ndarray, int]] = {}  # dim, index, numbers in each
    if spec.new_rows:
        for name, shape in shapes.items():
            if _is_vocabulary(name):
                last = vocab_size or shape[0]
                ids = new_row_ids(model_path) if first_new_row is None else range(first_new_row, last)
                chosen[name] = (0, np.asarray(ids, dtype=np.int64), math.prod(shape[1:]))
    neurons = _neurons(spec.neurons, neuron_langs)
    transposed = bool(neurons) and text_config(model_path).get("model_type") in _TRANSPOSED
    for name, index in neurons.items():
        stored = _stored(name, shapes)
        dim = 1 if _COLUMNS.search(name) else 0
        for parameter in (f"{stored}.weight", f"{stored}.bias"):
            if parameter in shapes and len(shapes[parameter]) > dim:
                shape = shapes[parameter][::-1] if transposed else shapes[parameter]
                chosen[parameter] = (dim, index, math.prod(shape) // shape[dim])
    parts = {name: Part(math.prod(shapes[name])) for name in shapes if name in whole}
    for name, (dim, index, each) in chosen.items():
        if name not in whole and len(index):
            parts[name] = Part(len(index) * each, dim)
    if not parts:
        raise SeaError(f"--train {spec.text} names nothing that this model has: nothing to train")
    return parts


def _is_vocabulary(name: str) -> bool:
    return name.endswith((*EMBEDDINGS, *HEADS, "lm_head.bias"))


def _stored(name: str, shapes: Shapes) -> str:
    """The weight that a neuron file calls `name`, as the checkpoint calls it: perhaps with another prefix."""
    if f"{name}.weight" in shapes:
        return name
    tail = re.compile(r"(?:^|\.)(?:layers|h|blocks|block)\.\d+\..+$").search(name)
    end = tail[0].lstrip(".") + ".weight" if tail else ""
    found = [stored for stored in shapes if end and (stored == end or stored.endswith("." + end))]
    if len(found) != 1:
        experts = re.search(r"experts\.(gate_up_proj|down_proj)$", name)
        why = "holds the neurons of all experts: parts of fused experts cannot be trained"
        raise SeaError(f"{name} {why if experts else 'is no weight of this model'}")
    return found[0].removesuffix(".weight")


def _neurons(files: Sequence[str], langs: Sequence[str]) -> dict[str, np.ndarray]:
    """The neurons of `langs` (all, if none is named) in all files: weight name -> indices."""
    merged: dict[str, np.ndarray] = {}
    for file in files:
        tensors, metadata = map_tensors(file)
        try:
            known = set(json.loads(metadata["counts"]))
        except (KeyError, ValueError, TypeError) as error:
            raise SeaError(f"{file}: not a neuron file", fix="make one with `sea lsn-detect`") from error
        for key, indices in tensors.items():
            lang, _, name = key.partition("/")
            if key.endswith(".scores") or lang not in known or (langs and lang not in langs):
                continue
            merged[name] = np.union1d(merged.get(name, indices), indices)
    return merged
