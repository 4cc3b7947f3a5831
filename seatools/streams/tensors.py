"""safetensors in and out, without torch: the header is read by itself, tensors are numpy arrays.

Errors name the file: a foreign file, a header that does not fit, a file cut off before its last tensor.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from seatools.streams.errors import SeaError, UsageError
from seatools.streams.parsed import parse_json

if TYPE_CHECKING:
    import numpy as np

_DTYPES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bool": "BOOL", "uint8": "U8", "int8": "I8",
    "uint16": "U16", "int16": "I16", "uint32": "U32", "int32": "I32", "uint64": "U64", "int64": "I64",
}  # fmt: skip
DTYPE_BITS = {
    "F64": 64, "I64": 64, "U64": 64, "C64": 64, "F32": 32, "I32": 32, "U32": 32, "F16": 16, "BF16": 16, "I16": 16,
    "U16": 16, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "I8": 8, "U8": 8, "BOOL": 8, "F4": 4,
}  # fmt: skip
MAX_HEADER_BYTES = 100_000_000  # the format's own limit


def refuse_compressed(path: str | Path) -> None:
    """UsageError for an output of tensors that would be compressed by its name: readers map such files."""
    if str(path).lower().endswith((".gz", ".zst")):
        raise UsageError(f"{path}: a file of tensors is not compressed", fix="end it in .safetensors")


def read_header(path: str | Path) -> tuple[dict[str, dict[str, Any]], dict[str, str], int]:
    """Tensors ({name: {dtype, shape, data_offsets}}), metadata, and the offset at which the data starts."""
    try:
        size = os.path.getsize(path)
        with open(path, "rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if size < 8 or length > min(MAX_HEADER_BYTES, size - 8):
                raise SeaError(f"{path}: not a safetensors file, or cut off inside its header")
            text = stream.read(length)
            header = parse_json(text, unique=True)
    except OSError as error:
        raise SeaError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise SeaError(f"{path}: not a safetensors file: its header is not JSON") from error
    if not isinstance(header, dict) or not text.startswith(b"{"):
        raise SeaError(f"{path}: not a safetensors file: its header is not an object")
    metadata = header.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise SeaError(f"{path}: the metadata in its header is not text by name")
    end = 0
    for name, entry in sorted(header.items(), key=_place):
        if not _is_entry(entry):
            raise SeaError(f'{path}: tensor "{name}" has no valid entry in the header')
        if entry["data_offsets"][0] != end:
            raise SeaError(f'{path}: tensor "{name}" does not begin where the tensor before it ends')
        end = entry["data_offsets"][1]
    if size != 8 + length + end:
        raise SeaError(
            f"{path}: {size:,} bytes where its header promises {8 + length + end:,}", fix="fetch or make it again"
        )
    for name, entry in header.items():
        num_bytes, bits = entry["data_offsets"][1] - entry["data_offsets"][0], DTYPE_BITS.get(entry["dtype"])
        if bits is not None and math.prod(entry["shape"]) * bits != num_bytes * 8:
            what = f"{num_bytes:,} bytes, which its shape does not explain"
            raise SeaError(f'{path}: tensor "{name}" has no valid entry in the header: {what}')
    return header, metadata, 8 + length


def _place(item: tuple[str, Any]) -> tuple[int, int]:
    """Where a tensor is, for sorting; what is no entry comes first."""
    return tuple(item[1]["data_offsets"]) if _is_entry(item[1]) else (-1, -1)


def _is_entry(entry: Any) -> bool:
    """Whether an entry of a header has a dtype, a shape and a place, and nothing more (where parsers may disagree)."""
    if not isinstance(entry, dict) or not isinstance(entry.get("dtype"), str) or len(entry) != 3:
        return False
    shape: Any = entry.get("shape")
    place: Any = entry.get("data_offsets")
    for numbers in (shape, place):
        if not isinstance(numbers, list) or not all(type(number) is int and number < 1 << 63 for number in numbers):
            return False
    return min(shape, default=0) >= 0 and len(place) == 2 and place[0] <= place[1]


def map_tensors(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Every tensor of a file as a read-only view into one memory map (no bf16: read those with torch), and its
    metadata."""
    import numpy as np

    header, metadata, start = read_header(path)
    content = np.memmap(path, dtype=np.uint8, mode="r")[start:]
    tensors = {}
    for name, entry in header.items():
        dtype = next((dtype for dtype, code in _DTYPES.items() if code == entry["dtype"]), None)
        if dtype is None:
            raise SeaError(f'{path}: tensor "{name}" is {entry["dtype"]}, which numpy does not have')
        try:
            first, end = entry["data_offsets"]
            view = np.asarray(content[first:end]).view(np.dtype(dtype).newbyteorder("<"))
            tensors[name] = view.reshape(entry["shape"])
        except (TypeError, ValueError) as error:
            raise SeaError(f'{path}: tensor "{name}" has no valid entry in the header: {error}') from error
    return tensors, metadata


def load_tensors(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """`map_tensors` read into memory."""
    tensors, metadata = map_tensors(path)
    return {name: tensor.copy() for name, tensor in tensors.items()}, metadata


def write_header(
    target: IO[bytes], tensors: Iterable[tuple[str, str, Sequence[int], int]], metadata: Mapping[str, str]
) -> None:
    """Begin a file whose tensors, (name, dtype, shape, bytes), follow end to end in this order."""
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    offset = 0
    for name, dtype, shape, num_bytes in tensors:
        header[name] = {"dtype": dtype, "shape": [*shape], "data_offsets": [offset, offset + num_bytes]}
        offset += num_bytes
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    text += b" " * (-len(text) % 8)
    target.write(len(text).to_bytes(8, "little"))
    target.write(text)


def save_tensors(target: str | Path | IO[bytes], tensors: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    """Write tensors and metadata in a fixed order, so that the same content gives the same bytes.

    The header is ours because the safetensors package (0.8) writes metadata in the order of a hash map, which
    differs from run to run. Tensors go by width of their dtype, widest first, then by name: torch refuses to read
    one that does not start at a multiple of its width.
    """
    if isinstance(target, str | Path):
        from seatools.streams.outputs import open_output

        with open_output(target, force=True) as stream:
            save_tensors(stream, tensors, metadata)
        return
    import numpy as np

    arrays = {}
    for name in sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name)):
        array = np.asarray(tensors[name], order="C")
        arrays[name] = array.astype(array.dtype.newbyteorder("<"), copy=False)
    rows = [(name, _DTYPES[array.dtype.name], array.shape, array.nbytes) for name, array in arrays.items()]
    write_header(target, rows, dict(sorted(metadata.items())))
    for array in arrays.values():
        target.write(array.reshape(-1).view(np.uint8).data)
