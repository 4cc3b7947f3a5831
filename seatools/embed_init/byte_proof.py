"""Proof on the stored bytes, part of `--verify`: every row and every tensor of OUT against the old model's.

Rows are told by the token map and the rule of `matrix_edit`, worked out again here and not taken from the edits. Bits
are compared as integers (a NaN differs from itself as a number), in chunks of 32 MB; a file that is a hard link of the
old one is not read. Cost: both folders are read once. No torch.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from seatools.embed_init.checkpoint import Checkpoint
from seatools.embed_init.old_rows import chunks
from seatools.embed_init.token_map import TokenMap
from seatools.streams.errors import CheckFailed, SeaError
from seatools.streams.float_bits import to_float32
from seatools.streams.weight_headers import INDEX, Tensor
from seatools.text.tokenizer import Tokenizer

NEW, ZERO = -2, -1
_BLOCK = 8 << 20


@dataclass(frozen=True)
class RowRule:
    """What each row of OUT must be."""

    source: np.ndarray
    """int64 [rows]: the old row whose bits it has, `NEW` or `ZERO`."""
    tokenizer: Tokenizer
    """The new one, to name rows by."""

    def name(self, row: int) -> str:
        """`row 7 ("▁the")`."""
        try:
            return f"row {row} ({self.tokenizer.piece(row)!r})"
        except SeaError:
            return f"row {row} (padding)"


def row_rule(
    tokens: TokenMap, reinitialised: Collection[int], num_old_rows: int, num_rows: int, tokenizer: Tokenizer
) -> RowRule:
    """`reinitialised`: new ids of tokens that the old model had, whose rows are made anew all the same."""
    source = np.full(num_rows, ZERO, dtype=np.int64)
    shared = min(num_old_rows, num_rows)
    source[:shared] = np.arange(shared)
    kept = [id for id in tokens.old_id if id < num_rows]
    source[kept] = [tokens.old_id[id] for id in kept]
    source[[id for id in (*tokens.new, *reinitialised) if id < num_rows]] = NEW
    return RowRule(source, tokenizer)


def prove_bytes(old: Checkpoint, out: Checkpoint, rule: RowRule) -> dict[str, int]:
    """Counts of rows kept, new and zero, and of other tensors that are the same. Raises `CheckFailed`."""
    before = {tensor.name: tensor for tensors in old.files.values() for tensor in tensors}
    after = {tensor.name: tensor for tensors in out.files.values() for tensor in tensors}
    _same_names(before, after)
    grown = {tensor.name for tensor in old.vocabulary_tensors}
    for name, tensor in before.items():
        made = after[name]
        rows = (len(rule.source),) if name in grown else tensor.shape[:1]
        if (made.dtype, made.shape) != (tensor.dtype, rows + tensor.shape[1:]):
            raise CheckFailed(
                f'"{name}" is {made.dtype} {[*made.shape]}, not {tensor.dtype} {[*rows, *tensor.shape[1:]]}',
                where=_place(made),
            )
    for name in before:
        if name in grown:
            _prove_matrix(before[name], after[name], rule)
        else:
            _prove_same(before[name], after[name])
    if old.tied and old.head is not None:
        _prove_tied(after[old.embedding.name], after[old.head.name], rule)
    return {
        "kept_rows": int((rule.source >= 0).sum()),
        "new_rows": int((rule.source == NEW).sum()),
        "zero_rows": int((rule.source == ZERO).sum()),
        "other_tensors": len(before) - len(grown),
    }


def prove_index(out: Checkpoint) -> None:
    """The index names each tensor of each weight file in the folder, and their size."""
    stored = {tensor.name: file for file, tensors in out.files.items() for tensor in tensors}
    present = {path.name for path in out.folder.glob("model*.safetensors")}
    if present - set(out.files):
        raise CheckFailed(f"OUT/{min(present - set(out.files))} is there, but {INDEX} does not name it")
    if out.index is None:
        return
    for name, file in stored.items():
        if out.index["weight_map"].get(name) != file:
            raise CheckFailed(f'{INDEX} does not say that "{name}" is in {file}', where=f"OUT/{INDEX}")
    size = sum(tensor.num_bytes for tensors in out.files.values() for tensor in tensors)
    said: Any = (out.index.get("metadata") or {}).get("total_size")
    if said != size:
        raise CheckFailed(f"total_size is {said}, the tensors have {size} bytes", where=f"OUT/{INDEX}")


def _same_names(before: dict[str, Tensor], after: dict[str, Tensor]) -> None:
    for names, problem in ((before.keys() - after, "is missing"), (after.keys() - before, "is not the old model's")):
        if names:
            more = f", and {len(names) - 1} more" if len(names) > 1 else ""
            raise CheckFailed(f'tensor "{min(names)}" {problem}{more}', where="OUT")


def _prove_matrix(old: Tensor, new: Tensor, rule: RowRule) -> None:
    before, after = old.open(), new.open()
    bits = np.dtype(f"<u{before.dtype.itemsize}")
    for rows in chunks(np.arange(len(rule.source)), after.shape[1]):
        source, stored = rule.source[rows], np.ascontiguousarray(after[rows[0] : rows[-1] + 1])
        made = stored.view(bits)
        kept = source >= 0
        changed = (made[kept] != np.ascontiguousarray(before[source[kept]]).view(bits)).sum(axis=1)
        if changed.any():
            first = int(np.flatnonzero(changed)[0])
            row, others = int(rows[kept][first]), int((changed > 0).sum()) - 1
            raise CheckFailed(
                f'"{new.name}" {rule.name(row)}: {changed[first]} of {made.shape[1]} numbers are not those of the old '
                f"row {rule.source[row]}" + (f"; {others} more rows near it differ" if others else ""),
                where=_place(new),
            )
        filled = made.any(axis=1)
        _refuse(filled & (source == ZERO), rows, rule, new, "is added padding, and not zero")
        if len(new.shape) == 2:
            _refuse(~filled & (source == NEW), rows, rule, new, "is new, and all zero")
        finite = np.isfinite(to_float32(stored, new.dtype)).all(axis=1)
        _refuse(~finite & (source == NEW), rows, rule, new, "holds NaN or infinity")
        _refuse(~finite, rows, rule, new, "holds NaN or infinity, as in the old model")


def _refuse(wrong: np.ndarray, rows: np.ndarray, rule: RowRule, tensor: Tensor, problem: str) -> None:
    if wrong.any():
        others = int(wrong.sum()) - 1
        more = f"; so do {others} more rows near it" if others else ""
        raise CheckFailed(
            f'"{tensor.name}" {rule.name(int(rows[wrong.argmax()]))} {problem}{more}', where=_place(tensor)
        )


def _prove_same(old: Tensor, new: Tensor) -> None:
    if old.path.samefile(new.path) and old.start == new.start:
        return
    with old.path.open("rb") as left, new.path.open("rb") as right:
        left.seek(old.start)
        right.seek(new.start)
        for position in range(0, old.num_bytes, _BLOCK):
            size = min(_BLOCK, old.num_bytes - position)
            if left.read(size) != right.read(size):
                raise CheckFailed(
                    f'"{new.name}" differs from the old model within bytes {position} to {position + size} of its data',
                    where=_place(new),
                )


def _prove_tied(embedding: Tensor, head: Tensor, rule: RowRule) -> None:
    """A head that is stored beside the embedding it is tied to has the same new rows."""
    left, right = embedding.open(), head.open()
    for rows in chunks(np.flatnonzero(rule.source == NEW), left.shape[1]):
        wrong = (to_float32(left[rows], embedding.dtype) != to_float32(right[rows], head.dtype)).any(axis=1)
        _refuse(wrong, rows, rule, head, "is not the embedding's, which it is tied to")


def _place(tensor: Tensor) -> str:
    """The file as it will be called, not the temporary folder."""
    return f"OUT/{tensor.path.name}"
