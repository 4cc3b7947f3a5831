"""The edits of all vocabulary tensors, and the record of every new row (`new_rows.jsonl`).

A tied head gets the embedding's new rows, an untied one its own by its own method. The head's bias moves with its rows;
a new token's bias is the mean of the old ones, added padding's is zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from seatools.embed_init.initial_rows import EMBEDDING, HEAD, InitialRows
from seatools.embed_init.matrix_edit import MatrixEdit, row_sources
from seatools.embed_init.nearest_rows import nearest
from seatools.embed_init.old_rows import mean_row, row_norms
from seatools.streams.errors import SeaError
from seatools.streams.float_bits import from_float32, to_float32
from seatools.streams.weight_headers import Tensor


@dataclass(frozen=True)
class Edits:
    """How every vocabulary tensor changes."""

    tensors: dict[str, MatrixEdit]
    """By the tensor's name: embedding, head and the head's bias, as far as they are stored."""
    used: list[str]
    """The method that each row of the embedding really has."""
    used_head: list[str]


def make_edits(initial: InitialRows) -> Edits:
    """Errors: `SeaError` if an old row that a new one is made of holds NaN or infinity."""
    rows, options = initial.rows, initial.options
    checkpoint = rows.checkpoint
    source = row_sources(rows.tokens, checkpoint.num_rows, rows.num_rows)
    ids = np.asarray(rows.ids, dtype=np.int64)

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
    values, used = initial.make(embedding, options.method, EMBEDDING)
    edits, used_head = {embedding.name: edit(embedding, values)}, used
    if head is not None:
        if not checkpoint.tied:
            values, used_head = initial.make(head, options.head, HEAD)
        edits[head.name] = edit(head, values)
    if bias is not None:
        mean = mean_row(bias.open(), bias.dtype, rows.trained)
        edits[bias.name] = edit(bias, np.repeat(mean[None], len(ids), axis=0))
    return Edits(edits, used, used_head)


def row_records(initial: InitialRows, edits: Edits) -> Iterator[dict[str, Any]]:
    """One object a new row, by id: token, id, origin, pieces, method, norm, nearest; `head` too if it is untied."""
    rows, old, new = initial.rows, initial.old, initial.new
    if not rows.ids:
        return
    embedding, head = rows.checkpoint.embedding, rows.checkpoint.head
    values = to_float32(edits.tensors[embedding.name].new_rows, embedding.dtype)
    pieces = [rows.pieces[id] for id in rows.ids]
    nearest_ids, cosines = nearest(values, embedding.open(), embedding.dtype, rows.trained, initial.place, pieces)
    norms = row_norms(values)
    untied = head if head is not None and not rows.checkpoint.tied else None
    head_norms = row_norms(to_float32(edits.tensors[untied.name].new_rows, untied.dtype)) if untied else norms
    for position, id in enumerate(rows.ids):
        record = {
            "token": new.piece(id),
            "id": id,
            "origin": "reinit" if id in rows.reinit else "new",
            "pieces": rows.pieces[id],
            "method": edits.used[position],
            "norm": round(float(norms[position]), 6),
            "nearest": {
                "token": old.piece(int(nearest_ids[position])),
                "cosine": round(float(cosines[position]), 4),
            },
        }
        if untied is not None:
            record["head"] = {"method": edits.used_head[position], "norm": round(float(head_norms[position]), 6)}
        yield record
