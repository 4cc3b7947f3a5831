"""Several patches of one base as one, each scaled: what applying their sum means, row by row.

With old the base's value, d_i = new_i - old the change of patch i (fp32), and f_i its scale:
    a row in one patch:   old + f d        (new itself, to the bit, where f = 1)
    a row in several:     error: refused;  sum: old + sum_i f_i d_i;  mean: old + sum_i f_i d_i / n, over the n patches
                          that have the row;  first: old + f_1 d_1 of the first patch on the command line that has it
rounded once, to nearest, into the base's dtype. Summing changes of one base is task arithmetic (arXiv 2212.04089).
"Row" is a row or column as the patch has it; a tensor that one patch holds whole counts as all of its rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from seatools.engine.patch import Part, Patch, bits
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.float_bits import from_float32, to_float32

OVERLAPS = ("error", "mean", "sum", "first")


def merge(patches: Sequence[Patch], scales: Sequence[float] | None = None, on_overlap: str = "error") -> Patch:
    """One patch that does what `patches`, each times its scale (1), do together; see the module's text.

    Raises UsageError for an overlap under "error", a wrong number of scales or one that is not finite; SeaError for
    patches of different bases.
    """
    if on_overlap not in OVERLAPS:
        raise UsageError(f'no --on-overlap "{on_overlap}"', fix=f"one of {', '.join(OVERLAPS)}")
    scales = _scales(len(patches), scales)
    first = patches[0]
    for other in patches[1:]:
        _check_same_base(first, other)
    names = dict.fromkeys(name for patch in patches for name in patch.parts)
    parts = {}
    for name in names:
        given = [
            (patch.name, patch.parts[name], scale)
            for patch, scale in zip(patches, scales, strict=True)
            if name in patch.parts
        ]
        if len(given) == 1 and given[0][2] == 1:
            parts[name] = given[0][1]
        else:
            parts[name] = _merged(name, given, on_overlap)
    return Patch(
        name=" + ".join(patch.name for patch in patches),
        parts=parts,
        base_digest=first.base_digest,
        architecture=first.architecture,
        tokenizer_digest=first.tokenizer_digest,
        trained="; ".join(dict.fromkeys(patch.trained for patch in patches)),
        languages=tuple(dict.fromkeys(lang for patch in patches for lang in patch.languages)),
    )


def _scales(num: int, scales: Sequence[float] | None) -> list[float]:
    found = [1.0] if not scales else [*scales]
    found = found * num if len(found) == 1 else found
    if len(found) != num:
        raise UsageError(f"{len(found)} scales for {num} patches", fix="--scale F for all, or one for each in order")
    if not all(map(math.isfinite, found)):
        raise UsageError("a --scale is not a finite number")
    return found


def _check_same_base(first: Patch, other: Patch) -> None:
    for what, ours, theirs in (
        ("base model", first.base_digest, other.base_digest),
        ("architecture", first.architecture, other.architecture),
        ("tokenizer", first.tokenizer_digest, other.tokenizer_digest),
    ):
        if ours != theirs:
            spelled = f"{str(ours)[:100]} and {str(theirs)[:100]}"
            raise SeaError(
                f"{first.name} and {other.name} are not of the same {what}: {spelled}",
                fix="merge patches that were trained from one checkpoint",
            )


def _merged(name: str, given: Sequence[tuple[str, Part, float]], on_overlap: str) -> Part:
    """The parts of one tensor as one. `given`: (patch, part, scale)."""
    part = given[0][1]
    for who, other, _ in given:
        if (other.shape, other.dtype) != (part.shape, part.dtype):
            shapes = f"{part.dtype} {[*part.shape]} and {other.dtype} {[*other.shape]}"
            raise SeaError(f'{given[0][0]} and {who} have "{name}" as {shapes}')
    dims = {other.dim for _, other, _ in given if other.dim is not None}
    if len(dims) > 1:
        every = " and ".join(who for who, _, _ in given)
        raise SeaError(f'{every}: "{name}" has rows in one and columns in the other, which cannot be merged')
    dim = min(dims, default=0)
    width = part.shape[dim] if part.shape else 1
    rows = [np.arange(width) if other.index is None else np.asarray(other.index) for _, other, _ in given]
    union, counts = np.unique(np.concatenate(rows), return_counts=True)
    if on_overlap == "error" and (counts > 1).any():
        row = int(union[counts.argmax()])
        both = [patch for (patch, _, _), index in zip(given, rows, strict=True) if row in index]
        kind, many = "column" if dim else "row", int((counts > 1).sum())
        raise UsageError(
            f"{both[0]} and {both[1]} both change {kind} {row} of {name} ({many} such {kind}s there)",
            fix="--on-overlap mean, sum or first",
        )
    place = [np.searchsorted(union, index) for index in rows]
    olds = [_by_row(other.old, dim) for _, other, _ in given]
    old = np.empty((len(union), *olds[0].shape[1:]), olds[0].dtype)
    new = np.empty_like(old)
    delta = np.zeros(old.shape, np.float32)
    seen = np.zeros(len(union), np.int64)
    exact = np.zeros(len(union), bool)
    for (who, other, scale), at, before in zip(given, place, olds, strict=True):
        again = seen[at] > 0
        if (bits(old[at[again]]) != bits(before[again])).any():
            raise SeaError(f'{given[0][0]} and {who} begin from different values of "{name}"', fix="use one base")
        old[at] = before
        use = ~again if on_overlap == "first" else np.ones(len(at), bool)
        at, after = at[use], _by_row(other.new, dim)[use]
        change = to_float32(after, other.dtype) - to_float32(before[use], other.dtype)
        delta[at] += np.float32(scale) * change
        seen[at] += 1
        exact[at] = (seen[at] == 1) & (scale == 1)
        new[at[exact[at]]] = after[exact[at]]
    if on_overlap == "mean":
        delta /= seen.reshape(-1, *(1,) * (delta.ndim - 1)).astype(np.float32)
    before, change = old[~exact], delta[~exact]
    made = from_float32(to_float32(before, part.dtype) + change, part.dtype)
    new[~exact] = np.where(change == 0, before, made)  # -0 + 0 is 0
    old, new = np.moveaxis(old, 0, dim), np.moveaxis(new, 0, dim)
    if not dims:
        old, new = old.reshape(part.shape), new.reshape(part.shape)
        return Part(shape=part.shape, dtype=part.dtype, dim=None, index=None, old=old, new=new)
    return Part(shape=part.shape, dtype=part.dtype, dim=dim, index=union.astype(np.int64), old=old, new=new)


def _by_row(values: np.ndarray, dim: int) -> np.ndarray:
    return np.moveaxis(np.atleast_1d(values), dim, 0)
