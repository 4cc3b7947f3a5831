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
from seatools.streams.errors import SeaError
from seatools.streams.tensors import map_tensors
from seatools.streams.weight_headers import file_tensors, read_json_object, vocabulary_config, weight_files
from seatools.train.new_rows import new_row_ids
from seatools.train.train_spec import TrainSpec

Shapes = dict[str, tuple[int, ...]]
# Buffers that older versions wrote into checkpoints and that every version computes by itself.
_COMPUTED = re.compile(r"(rotary_emb\.inv_freq|attn\.(masked_)?bias|attention\.(masked_)?bias)$")
_COLUMNS = ("down_proj", "o_proj")


@dataclass(frozen=True)
class Part:
    """What is trained of one weight: `count` numbers; `dim` 0: rows, 1: columns, None: all of it."""

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
    chosen: dict[str, tuple[int, np.ndarray]] = {}
    if spec.new_rows:
        for name, shape in shapes.items():
            if _is_vocabulary(name):
                last = vocab_size or shape[0]
                ids = new_row_ids(model_path) if first_new_row is None else range(first_new_row, last)
                chosen[name] = (0, np.asarray(ids, dtype=np.int64))
    for name, index in _neurons(spec.neurons, neuron_langs).items():
        dim = 1 if name.endswith(_COLUMNS) else 0
        for parameter in (f"{name}.weight", f"{name}.bias"):
            if parameter in shapes and len(shapes[parameter]) > dim:
                chosen[parameter] = (dim, index)
    parts = {name: Part(math.prod(shapes[name])) for name in shapes if name in whole}
    for name, (dim, index) in chosen.items():
        if name not in whole and len(index):
            parts[name] = Part(len(index) * math.prod(shapes[name]) // shapes[name][dim], dim)
    if not parts:
        raise SeaError(f"--train {spec.text} names nothing that this model has: nothing to train")
    return parts


def _is_vocabulary(name: str) -> bool:
    return name.endswith((*EMBEDDINGS, *HEADS, "lm_head.bias"))


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
