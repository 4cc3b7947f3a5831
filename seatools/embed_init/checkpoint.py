"""What a model folder's weights are, by headers alone: its files, its tensors, which are the embedding and the head.

Both are found by the names that transformers' families give them and proven by shape, [vocab_size, hidden_size]; two
that fit are refused, as one of them would be left with old rows. Cost: config.json, the index and one header a file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seatools.streams.errors import SeaError
from seatools.streams.float_bits import STORED
from seatools.streams.weight_headers import (
    INDEX,
    Tensor,
    file_tensors,
    read_json_object,
    vocabulary_config,
    weight_files,
)

_EMBEDDING = re.compile(r"(^|\.)(embed_tokens|wte|embed_in|tok_embeddings|word_embeddings|embeddings?)\.weight$")
_HEAD = re.compile(
    r"(^|\.)(lm_head|embed_out)\.weight$|^((model|language_model|transformer)\.)*output(_layer)?\.weight$"
)
_ALSO_BY_TOKEN = re.compile(r"^(?!.*(pos|patch)).*(embed|vocab)")
_QUANTISED = re.compile(r"\.(qweight|qzeros|g_idx|SCB|.*(scale|zero_point|absmax|quant|packed).*)$")
_HIDDEN = ("hidden_size", "n_embd", "d_model")


@dataclass(frozen=True)
class Checkpoint:
    """A model folder by its headers."""

    folder: Path
    config: dict[str, Any]
    files: dict[str, list[Tensor]]
    """Weight file -> its tensors in the order of their bytes."""
    index: dict[str, Any] | None
    embedding: Tensor
    head: Tensor | None
    """The head's own tensor, if it is stored."""
    head_bias: Tensor | None
    tied: bool
    """True if the head is the embedding: not stored, or config.json says so."""

    @property
    def num_rows(self) -> int:
        return self.embedding.shape[0]

    @property
    def hidden_size(self) -> int:
        return self.embedding.shape[1]

    @property
    def vocabulary_tensors(self) -> list[Tensor]:
        """Every tensor with a row for each token: embedding, head, bias of the head."""
        return [tensor for tensor in (self.embedding, self.head, self.head_bias) if tensor is not None]


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read the headers of a model folder.

    Errors: `SeaError` for no folder, no or broken config.json, pickles only, missing, cut or foreign shards, an index
    that does not fit them, no embedding or several, a vocabulary matrix that is quantised or not fp32, fp16, bf16.
    """
    if not folder.is_dir():
        raise SeaError(f"{folder} is not a folder" if folder.exists() else f"{folder} does not exist")
    config = read_json_object(folder / "config.json")
    if (folder / "generation_config.json").is_file():
        read_json_object(folder / "generation_config.json")
    names, index = weight_files(folder)
    files = {name: file_tensors(folder / name) for name in names}
    tensors = {tensor.name: tensor for name in names for tensor in files[name]}
    if index is not None:
        for name, file in index["weight_map"].items():
            if name not in {tensor.name for tensor in files[file]}:
                raise SeaError(f'{file} does not hold "{name}"', where=str(folder / INDEX), fix="fetch both again")
    embedding = _find_embedding(folder, config, tensors)
    head = _find_head(folder, tensors, embedding)
    says = vocabulary_config(config).get("tie_word_embeddings", config.get("tie_word_embeddings"))
    for name, tensor in tensors.items():
        matrix = _QUANTISED.sub(".weight", name)
        if matrix != name and (_HEAD.search(matrix) or matrix == embedding.name):
            raise SeaError(
                f'"{name}" says that "{matrix}" is quantised',
                where=str(tensor.path),
                fix="only fp32, fp16 and bf16 matrices can be extended: use the model before quantisation",
            )
        if tensor not in (embedding, head) and tensor.shape[:1] == embedding.shape[:1] and _ALSO_BY_TOKEN.search(name):
            raise SeaError(
                f'"{name}" {[*tensor.shape]} seems to have a row for each token too, as "{embedding.name}" has',
                where=str(tensor.path),
                fix="sea embed-init extends models with one embedding and one head",
            )
    if head is None and says is False:
        raise SeaError(
            "config.json says that the head is not tied, and no head tensor is stored",
            where=str(folder),
            fix="looked for lm_head.weight, embed_out.weight, output.weight",
        )
    bias = tensors.get(head.name.removesuffix("weight") + "bias") if head else tensors.get("lm_head.bias")
    found = Checkpoint(folder, config, files, index, embedding, head, bias, tied=head is None or says is True)
    for tensor in found.vocabulary_tensors:
        if tensor.dtype not in STORED:
            raise SeaError(
                f'"{tensor.name}" is stored as {tensor.dtype}', where=str(tensor.path), fix=f"supported: {[*STORED]}"
            )
    if bias is not None and bias.shape != (found.num_rows,):
        raise SeaError(f'"{bias.name}" is {[*bias.shape]}, not [{found.num_rows}]', where=str(bias.path))
    return found


def _find_embedding(folder: Path, config: dict[str, Any], tensors: dict[str, Tensor]) -> Tensor:
    text = vocabulary_config(config)
    num_rows = text.get("vocab_size", config.get("vocab_size"))
    hidden = next((text[key] for key in _HIDDEN if key in text), None)
    named = [tensor for name, tensor in tensors.items() if _EMBEDDING.search(name) and len(tensor.shape) == 2]
    fitting = [
        tensor
        for tensor in named
        if num_rows in (None, tensor.shape[0]) and hidden in (None, tensor.shape[1])
    ]  # fmt: skip
    if len(fitting) == 1:
        return fitting[0]
    shape = f"[{num_rows or 'vocab_size'}, {hidden or 'hidden_size'}]"
    if fitting:
        raise SeaError(
            f"{len(fitting)} tensors look like the embedding: {_listed(fitting)}",
            where=str(folder),
            fix="sea embed-init extends models with one embedding",
        )
    others = named or [tensor for tensor in tensors.values() if len(tensor.shape) == 2 and tensor.shape[0] == num_rows]
    raise SeaError(
        f"no embedding of shape {shape} found; candidates: {_listed(others) or 'none'}",
        where=str(folder),
        fix="config.json and the weights must be of one model",
    )


def _find_head(folder: Path, tensors: dict[str, Tensor], embedding: Tensor) -> Tensor | None:
    named = [tensor for name, tensor in tensors.items() if _HEAD.search(name) and len(tensor.shape) == 2]
    if len(named) > 1:
        raise SeaError(f"{len(named)} tensors look like the head: {_listed(named)}", where=str(folder))
    if named and named[0].shape != embedding.shape:
        raise SeaError(
            f"the head {_listed(named)} does not have the shape of the embedding {_listed([embedding])}",
            where=str(folder),
        )
    return named[0] if named else None


def _listed(tensors: list[Tensor]) -> str:
    return ", ".join(f"{tensor.name} {[*tensor.shape]}" for tensor in tensors[:6])
