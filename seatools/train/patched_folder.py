"""A model folder with a patch put in or taken out: only the weight files that it touches are written anew.

The values under the patch must be those it knows (before it goes in: old, before it comes out: new), so that what comes
out is exact to the bit, whatever other patches the folder has had. With `inexact` a value that is not gets the
difference added in fp32, rounded once; the others stay exact. Configuration, tokenizer and chat template go along.
Memory: the patch's own values, and buffers; the model is never held.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal

import numpy as np

from seatools.engine.patch import Part, Patch, bits, config_architecture, folder_tensors, stored_slice
from seatools.streams.errors import CheckFailed, SeaError
from seatools.streams.float_bits import STORED, from_float32, to_float32
from seatools.streams.messages import Messages
from seatools.streams.weight_files import Digests, write_weights
from seatools.streams.weight_headers import INDEX, OTHER_WEIGHTS, Tensor, file_tensors, weight_files
from seatools.text.tokenizer import load_tokenizer

_RECORDS = ("*.manifest.json", "metrics.jsonl", ".*")
_BLOCK = 1 << 20
Direction = Literal["in", "out"]


@dataclass(frozen=True)
class SliceEdit:
    """One stored tensor with a slice of it replaced."""

    tensor: Tensor
    dim: int | None
    index: np.ndarray | None
    values: np.ndarray
    """Stored bits, the shape of the slice."""

    @property
    def shape(self) -> tuple[int, ...]:
        return self.tensor.shape

    @property
    def num_bytes(self) -> int:
        return self.tensor.num_bytes

    def bytes(self) -> Iterator[bytes]:
        """The new tensor's bytes, in order."""
        if self.index is None:
            flat = np.ascontiguousarray(self.values).reshape(-1).view(np.uint8)
            for first in range(0, len(flat), _BLOCK):
                yield flat[first : first + _BLOCK].tobytes()
            return
        tensor = self.tensor
        stored = np.memmap(tensor.path, STORED[tensor.dtype], "r", offset=tensor.start, shape=tensor.shape)
        step = max(1, _BLOCK * len(stored) // tensor.num_bytes)
        for first in range(0, len(stored), step):
            rows = np.array(stored[first : first + step])
            if self.dim == 0:
                begin, end = np.searchsorted(self.index, [first, first + len(rows)])
                rows[self.index[begin:end] - first] = self.values[begin:end]
            else:
                rows[:, self.index] = self.values[first : first + len(rows)]
            yield rows.tobytes()


def check_fit(model: Path, patch: Patch, *, inexact: bool = False, messages: Messages) -> dict[str, Tensor]:
    """The tensors that `patch` changes, as `model` stores them.

    Raises SeaError for another architecture, for a tensor that is missing or has another shape (both are named) or
    dtype, and, unless `inexact`, for another tokenizer.
    """
    stored, here = folder_tensors(model), config_architecture(model)
    odd = [key for key, value in patch.architecture.items() if here.get(key, value) != value]
    if odd:
        differ = ", ".join(f"{key} {patch.architecture[key]} there, {here[key]} here" for key in odd)
        raise SeaError(f"{patch.name} is of another architecture than {model}: {differ}")
    for name, part in patch.parts.items():
        if name not in stored:
            raise SeaError(f'{patch.name} changes "{name}", which {model} does not store')
        tensor = stored[name]
        if tensor.shape != part.shape:
            fix = "give the model that it was trained on"
            if tensor.shape[1:] == part.shape[1:]:
                fix += "; the vocabulary may have to grow first (sea embed-init)"
            raise SeaError(
                f'"{name}" is {[*tensor.shape]} in {model}, and {patch.name} was made for {[*part.shape]}', fix=fix
            )
        if tensor.dtype != part.dtype:
            raise SeaError(f'"{name}" is {tensor.dtype} in {model}, and {patch.name} was made for {part.dtype}')
    if patch.tokenizer_digest and not inexact:
        _check_tokenizer(model, patch, messages)
    return {name: stored[name] for name in patch.parts}


def _check_tokenizer(model: Path, patch: Patch, messages: Messages) -> None:
    try:
        digest = load_tokenizer(model).digest()
    except SeaError as error:
        messages.warn(f"{model}: its tokenizer is not compared with the patch's, as it cannot be read: {error.what}")
        return
    if digest != patch.tokenizer_digest:
        raise SeaError(
            f"{model} has another tokenizer ({digest[:16]}) than {patch.name} was trained with "
            f"({patch.tokenizer_digest[:16]})",
            fix="give the model that it was trained on; --inexact applies it all the same",
        )


def slice_edits(
    model: Path, patch: Patch, direction: Direction, *, inexact: bool = False, messages: Messages
) -> dict[str, SliceEdit]:
    """What putting `patch` in or taking it out writes, by tensor, after `check_fit`.

    Raises CheckFailed, naming the tensor and its first wrong row, where the model's values are not those that the
    patch knows, unless `inexact`.
    """
    edits = {}
    num_inexact = 0
    for name, tensor in check_fit(model, patch, inexact=inexact, messages=messages).items():
        part = patch.parts[name]
        expected, wanted = (part.old, part.new) if direction == "in" else (part.new, part.old)
        found = stored_slice(tensor, part.dim, part.index)
        differs = bits(found) != bits(expected)
        if differs.any():
            if not inexact:
                raise _wrong_values(model, patch, name, part, found, differs, direction)
            change = to_float32(wanted, part.dtype) - to_float32(expected, part.dtype)
            summed = from_float32(to_float32(found, part.dtype) + change, part.dtype)
            wanted = np.where(differs, summed, wanted)
            num_inexact += int(np.count_nonzero(differs))
        edits[name] = SliceEdit(tensor, part.dim, part.index, wanted)
    if num_inexact:
        share = num_inexact / patch.num_values
        messages.warn(
            f"{num_inexact:,} of {patch.num_values:,} values ({share:.2%}) are not those that {patch.name} knows: "
            "they got its difference, added in fp32, and it will not come out to the bit"
        )
    return edits


def _wrong_values(
    model: Path, patch: Patch, name: str, part: Part, found: np.ndarray, differs: np.ndarray, direction: Direction
) -> CheckFailed:
    other = part.new if direction == "in" else part.old
    if (bits(found) == bits(other)).all():
        state = "the patch in it already" if direction == "in" else "the base's values, without the patch"
        return CheckFailed(f'"{name}" of {model} has {state} ({patch.name})', fix="nothing is left to do for it")
    known = "the patch was made on" if direction == "in" else "the patch leaves"
    if part.dim is None or part.index is None:
        wrong = f"{int(differs.sum())} of its {differs.size} values"
    else:
        rows = np.flatnonzero(np.moveaxis(differs, part.dim, 0).reshape(part.count, -1).any(axis=1))
        wrong = f"{len(rows)} of {part.count} {part.what} (first: {int(part.index[rows[0]])})"
    return CheckFailed(
        f'"{name}" of {model} does not have the values that {known} ({patch.name}): {wrong} differ',
        fix="give the model that belongs to it (and the same --scale); --inexact adds the difference all the same",
    )


def write_patched(model: Path, folder: Path, edits: dict[str, SliceEdit], messages: Messages) -> dict[str, Digests]:
    """Fill the empty `folder` with `model` under `edits`; the digests of its weight files by name."""
    names, index = weight_files(model)
    changed = {edit.tensor.path.name for edit in edits.values()}
    rewritten = {name: file_tensors(model / name) for name in names if name in changed}
    kept = [name for name in names if name not in changed]
    digests = write_weights(model, folder, rewritten, kept, edits, link=False)
    left_out = []
    for path in sorted(model.iterdir()):
        if path.name in names:
            continue
        if (path.name == INDEX and index is not None) or (
            path.is_file() and not any(fnmatch(path.name, mask) for mask in (*OTHER_WEIGHTS, *_RECORDS))
        ):
            shutil.copyfile(path, folder / path.name)
        else:
            left_out.append(path.name + "/" * path.is_dir())
    if left_out:
        messages.debug(f"left out: {', '.join(left_out)}")
    return digests
