"""The edits of all vocabulary tensors, and the record of every new row (`new_rows.jsonl`).

A tied head gets the embedding's new rows, an untied one its own by its own method. The head's bias moves with its rows;
a new token's bias is the mean of the old ones, added padding's is zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from seatools.embed_init.checkpoint import Checkpoint, Tensor, vocabulary_config
from seatools.embed_init.float_bits import from_float32, to_float32
from seatools.embed_init.matrix_edit import MatrixEdit, row_sources
from seatools.embed_init.nearest_rows import nearest
from seatools.embed_init.options import EmbedInitOptions
from seatools.embed_init.row_methods import gaussian_rows, mean_row, subword_mean_rows, xavier_rows
from seatools.embed_init.token_map import TokenMap
from seatools.streams.errors import SeaError
from seatools.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class NewRows:
    """What `make_edits` needs to know besides the options. `pieces`: new id -> old ids that spell it, perhaps none."""

    checkpoint: Checkpoint
    tokens: TokenMap
    pieces: dict[int, list[int]]
    num_rows: int


def make_edits(rows: NewRows, options: EmbedInitOptions) -> dict[str, MatrixEdit]:
    """Tensor name -> its edit, for the embedding, the head and the head's bias, as far as they are stored.

    Errors: `SeaError` if an old row that a new one is made of holds NaN or infinity.
    """
    checkpoint, tokens = rows.checkpoint, rows.tokens
    source = row_sources(tokens, checkpoint.num_rows, rows.num_rows)
    ids = np.asarray(tokens.new, dtype=np.int64)

    def edit(tensor: Tensor, values: np.ndarray) -> MatrixEdit:
        stored = from_float32(values, tensor.dtype)
        finite = np.isfinite(to_float32(stored, tensor.dtype)).all(axis=1)
        if not finite.all():
            raise SeaError(
                f'the new rows of "{tensor.name}" would hold NaN or infinity (first: id {ids[finite.argmin()]})',
                where=str(tensor.path),
                fix="the checkpoint's own rows hold them",
            )
        return MatrixEdit(tensor, source, ids, stored)

    embedding, head, bias = checkpoint.embedding, checkpoint.head, checkpoint.head_bias
    values = _values(rows, embedding, options.method, options.seed, stream=0)
    edits = {embedding.name: edit(embedding, values)}
    if head is not None:
        if not checkpoint.tied:
            values = _values(rows, head, options.head_method or options.method, options.seed, stream=1)
        edits[head.name] = edit(head, values)
    if bias is not None:
        mean = mean_row(bias.open(), bias.dtype, tokens.old_in_use)
        edits[bias.name] = edit(bias, np.repeat(mean[None], len(ids), axis=0))
    return edits


def _values(rows: NewRows, tensor: Tensor, method: str, seed: int, stream: int) -> np.ndarray:
    """[new, columns] fp32."""
    ids, columns = rows.tokens.new, tensor.shape[1]
    if method == "gaussian":
        config = rows.checkpoint.config
        std = vocabulary_config(config).get("initializer_range", config.get("initializer_range", 0.02))
        return gaussian_rows(ids, columns, std, seed, stream)
    if method == "xavier":
        return xavier_rows(ids, columns, rows.num_rows, seed, stream)
    stored = tensor.open()
    mean = mean_row(stored, tensor.dtype, rows.tokens.old_in_use)
    pieces = [rows.pieces[id] if method == "subword-mean" else [] for id in ids]
    return subword_mean_rows(stored, tensor.dtype, pieces, mean)


def row_records(
    rows: NewRows, options: EmbedInitOptions, edits: dict[str, MatrixEdit], old: Tokenizer, new: Tokenizer
) -> Iterator[dict[str, Any]]:
    """One object a new row, by id: token, id, pieces, method, norm, nearest; `head` too if it is untied."""
    if not rows.tokens.new:
        return
    embedding, head = rows.checkpoint.embedding, rows.checkpoint.head
    values = to_float32(edits[embedding.name].new_rows, embedding.dtype)
    nearest_ids, cosines = nearest(values, embedding.open(), embedding.dtype, rows.tokens.old_in_use)
    norms = _norms(values)
    untied = head if head is not None and not rows.checkpoint.tied else None
    head_norms = _norms(to_float32(edits[untied.name].new_rows, untied.dtype)) if untied else norms
    for position, id in enumerate(rows.tokens.new):
        pieces = rows.pieces[id]
        record = {
            "token": new.piece(id),
            "id": id,
            "pieces": pieces,
            "method": _used(options.method, pieces),
            "norm": round(float(norms[position]), 6),
            "nearest": {
                "token": old.piece(int(nearest_ids[position])),
                "cosine": round(float(cosines[position]), 4),
            },
        }
        if untied is not None:
            method = _used(options.head_method or options.method, pieces)
            record["head"] = {"method": method, "norm": round(float(head_norms[position]), 6)}
        yield record


def _used(method: str, pieces: list[int]) -> str:
    return "mean" if method == "subword-mean" and not pieces else method


def _norms(values: np.ndarray) -> np.ndarray:
    return np.sqrt(np.square(values, dtype=np.float64).sum(axis=1))
