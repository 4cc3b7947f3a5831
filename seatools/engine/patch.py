"""Patches: what a run changed in a checkpoint, as one safetensors file, exact to the bit in both directions.

For each trained slice it holds index, old and new values, bit for bit in the base's own dtype: a few MB for neurons,
twice their size for whole layers. Both, and not their difference: bf16(old + (new - old)) is not always new, and the
old values prove that a checkpoint is the one to change and give it back. Old values come from the base's files; new
ones are the trained weights rounded to the base's dtype. No torch: bf16 is handled as its bits.
Tensors: `index/NAME` int64 [k], `old/NAME`, `new/NAME` with the slice's shape; no index where NAME is held whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from seatools.streams.errors import SeaError
from seatools.streams.float_bits import STORED, from_float32, to_float32
from seatools.streams.messages import Messages
from seatools.streams.outputs import open_output
from seatools.streams.parsed import parse_json
from seatools.streams.tensors import read_header, write_header
from seatools.streams.weight_headers import Tensor, file_tensors, read_json_object, vocabulary_config, weight_files

FORMAT, FORMAT_VERSION = "sea-patch", "1"
_SIZES = (
    "model_type", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "head_dim",
)  # fmt: skip
_AGAIN = "fetch or make it again"


@dataclass(frozen=True, kw_only=True)
class TrainedSlice:
    """Trained values of one parameter, as they stand at the end of a run."""

    names: tuple[str, ...]
    """The parameter's, and those of parameters tied to it: all of them that the base stores are changed."""
    shape: tuple[int, ...]
    """Of the whole parameter."""
    dim: int | None
    index: np.ndarray | None
    """int64 [k], ascending, along `dim`; both None if all of the parameter was trained."""
    dtype: str
    """F32, F16 or BF16."""
    values: np.ndarray
    """As stored: bf16 as uint16 bits."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One slice of one stored tensor, before and after."""

    shape: tuple[int, ...]
    dtype: str
    dim: int | None
    index: np.ndarray | None
    old: np.ndarray
    """Stored bits (bf16 as uint16), the shape of the slice."""
    new: np.ndarray

    @property
    def count(self) -> int:
        """Rows or columns, or 0 where all of the tensor is held."""
        return 0 if self.index is None else len(self.index)

    @property
    def what(self) -> str:
        return "whole" if self.dim is None else ("rows", "columns")[self.dim]


@dataclass(frozen=True, kw_only=True)
class Patch:
    """A patch file's content; the values may be views into the file."""

    name: str
    """For messages: the file."""
    parts: dict[str, Part]
    """By the name of the tensor."""
    base_digest: str
    """`folder_digest` of the model it was made from."""
    architecture: dict[str, Any]
    tokenizer_digest: str
    trained: str
    """What was trained, as `--train` says it."""
    languages: tuple[str, ...]

    @property
    def num_values(self) -> int:
        return sum(part.new.size for part in self.parts.values())


def folder_tensors(folder: Path) -> dict[str, Tensor]:
    """Every tensor that a model folder stores, by name, from the headers. Raises SeaError as `weight_files` does."""
    if not folder.is_dir():
        raise SeaError("is not a folder" if folder.exists() else "does not exist", where=str(folder))
    names, _ = weight_files(folder)
    return {tensor.name: tensor for name in names for tensor in file_tensors(folder / name)}


def config_architecture(folder: Path) -> dict[str, Any]:
    """Model type and sizes, as far as config.json spells them."""
    config = vocabulary_config(read_json_object(folder / "config.json"))
    return {key: config[key] for key in _SIZES if config.get(key) is not None}


def stored_slice(tensor: Tensor, dim: int | None, index: np.ndarray | None) -> np.ndarray:
    """The stored bits of a slice; of a whole tensor a view into the file."""
    mapped = np.memmap(tensor.path, STORED[tensor.dtype], "r", offset=tensor.start, shape=tensor.shape or (1,))
    stored = np.asarray(mapped).reshape(tensor.shape)
    return stored if dim is None or index is None else np.take(stored, index, axis=dim)


def bits(values: np.ndarray) -> np.ndarray:
    """Stored values as integers, so that NaN is equal to itself and 0 is not -0."""
    return np.asarray(values, order="C").view(f"<u{values.itemsize}")


def make_patch(
    base: Path,
    slices: Iterable[TrainedSlice],
    *,
    base_digest: str,
    tokenizer_digest: str,
    trained: str,
    languages: Sequence[str],
    name: str = "patch",
    messages: Messages | None = None,
) -> Patch:
    """The patch that makes `base` what `slices` were trained to.

    `base_digest` is the `folder_digest` of `base`. A slice of another dtype than the base's is rounded to that, to
    nearest with ties to even, and `messages` gets a warning. Raises SeaError where the base does not store a parameter
    under any of its names, or in another shape, or in a dtype other than fp32, fp16 and bf16.
    """
    stored = folder_tensors(base)
    parts: dict[str, Part] = {}
    rounded: set[tuple[str, str]] = set()
    for piece in slices:
        found = [stored[name] for name in piece.names if name in stored]
        if not found:
            raise SeaError(
                f'stores no tensor "{piece.names[0]}", so no patch of it can be made',
                where=str(base),
                fix="keep the whole model: leave out --save-patch",
            )
        for tensor in found:
            if tensor.shape != piece.shape or tensor.dtype not in STORED:
                here = f"{tensor.dtype} {[*tensor.shape]}"
                raise SeaError(
                    f'stores "{tensor.name}" as {here}, and it was trained as {piece.dtype} {[*piece.shape]}',
                    where=str(base),
                )
            new = piece.values
            if tensor.dtype != piece.dtype:
                new = from_float32(to_float32(new, piece.dtype), tensor.dtype)
                if STORED[tensor.dtype].itemsize <= STORED[piece.dtype].itemsize:
                    rounded.add((piece.dtype, tensor.dtype))
            parts[tensor.name] = Part(
                shape=tensor.shape, dtype=tensor.dtype, dim=piece.dim, index=piece.index,
                old=stored_slice(tensor, piece.dim, piece.index), new=new,
            )  # fmt: skip
    for theirs, ours in sorted(rounded):
        if messages is not None:
            messages.warn(f"trained in {theirs}, {base} is stored as {ours}: the patch holds values rounded to that")
    if not parts:
        raise SeaError("nothing was trained, so there is no patch to make")
    return Patch(
        name=name, parts=parts, base_digest=base_digest, architecture=config_architecture(base),
        tokenizer_digest=tokenizer_digest, trained=trained, languages=tuple(languages),
    )  # fmt: skip


def save_patch(
    path: Path,
    base: Path,
    slices: Iterable[TrainedSlice],
    *,
    base_digest: str,
    tokenizer_digest: str,
    trained: str,
    languages: Sequence[str],
    messages: Messages | None = None,
    force: bool = False,
) -> Patch:
    """`make_patch`, written to `path`; returns it."""
    patch = make_patch(
        base, slices, base_digest=base_digest, tokenizer_digest=tokenizer_digest, trained=trained,
        languages=languages, name=str(path), messages=messages,
    )  # fmt: skip
    with open_output(path, force=force, inputs=[base], binary=True) as stream:
        write_patch(stream, patch)
    return patch


def write_patch(stream: IO[bytes], patch: Patch) -> None:
    """The file of `patch`; the same content gives the same bytes."""
    arrays: dict[str, tuple[str, np.ndarray]] = {}
    layout = {}
    for name, part in patch.parts.items():
        layout[name] = {"dim": part.dim, "shape": [*part.shape]}
        if part.index is not None:
            arrays[f"index/{name}"] = ("I64", part.index.astype("<i8", copy=False))
        arrays[f"old/{name}"], arrays[f"new/{name}"] = (part.dtype, part.old), (part.dtype, part.new)
    names = sorted(arrays, key=lambda name: (-arrays[name][1].itemsize, name))  # torch wants each at its width
    metadata = {
        "architecture": json.dumps(patch.architecture, sort_keys=True),
        "base_digest": patch.base_digest,
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "languages": json.dumps(patch.languages),
        "parts": json.dumps(layout, sort_keys=True),
        "tokenizer_digest": patch.tokenizer_digest,
        "trained": patch.trained,
    }
    rows = [(name, dtype, array.shape, array.nbytes) for name in names for dtype, array in (arrays[name],)]
    write_header(stream, rows, metadata)
    for name in names:
        stream.write(np.ascontiguousarray(arrays[name][1]).reshape(-1).view(np.uint8).data)


def load_patch(path: str | Path) -> Patch:
    """Read a patch file; its values are mapped, not read. Raises SeaError for a foreign, newer or damaged one."""
    header, metadata, start = read_header(path)
    if metadata.get("format") != FORMAT:
        raise SeaError(f"{path}: not a patch file", fix="make one with `sea train --save-patch`")
    if metadata.get("format_version") != FORMAT_VERSION:
        raise SeaError(f"{path}: patch format {metadata.get('format_version')}; this version reads {FORMAT_VERSION}")
    try:
        layout = parse_json(metadata["parts"])
        parts = {str(name): _read_part(Path(path), name, row, header, start) for name, row in layout.items()}
        languages = tuple(map(str, parse_json(metadata["languages"])))
        architecture = dict(parse_json(metadata["architecture"]))
        texts = {key: metadata[key] for key in ("base_digest", "tokenizer_digest", "trained")}
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, IndexError) as error:
        raise SeaError(f"{path}: its header does not describe a patch ({error!r})", fix=_AGAIN) from error
    known = sum(2 + (part.index is not None) for part in parts.values())
    if not parts or known != len(header):
        raise SeaError(f"{path}: {len(header)} tensors where its metadata names {known}", fix=_AGAIN)
    return Patch(name=str(path), parts=parts, architecture=architecture, languages=languages, **texts)


def _read_part(path: Path, name: str, row: Any, header: dict[str, dict[str, Any]], start: int) -> Part:
    """ValueError, KeyError or TypeError for a part that does not hold together."""

    def mapped(key: str, dtype: np.dtype[Any]) -> np.ndarray:
        entry = header[key]
        shape = tuple(map(int, entry["shape"]))
        begin, end = map(int, entry["data_offsets"])
        flat = np.memmap(path, np.uint8, "r", offset=start + begin, shape=(end - begin,)) if end > begin else b""
        return np.frombuffer(flat, dtype).reshape(shape)

    dtype, shape, dim = header[f"old/{name}"]["dtype"], tuple(map(int, row["shape"])), row["dim"]
    if header[f"new/{name}"]["dtype"] != dtype or dim not in (None, 0, 1) or (dim is not None and dim >= len(shape)):
        raise ValueError(f"{name}: dtype or dim")
    old, new = mapped(f"old/{name}", STORED[dtype]), mapped(f"new/{name}", STORED[dtype])
    expected, index = shape, None
    if dim is not None:
        if header[f"index/{name}"]["dtype"] != "I64":
            raise ValueError(f"{name}: index")
        index = mapped(f"index/{name}", np.dtype("<i8"))
        if index.ndim != 1 or not len(index) or index[0] < 0 or index[-1] >= shape[dim] or (np.diff(index) <= 0).any():
            raise ValueError(f"{name}: index")
        expected = (*shape[:dim], len(index), *shape[dim + 1 :])
    if old.shape != expected or new.shape != expected:
        raise ValueError(f"{name}: shape")
    return Part(shape=shape, dtype=dtype, dim=dim, index=index, old=old, new=new)
