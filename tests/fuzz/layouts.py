"""How one string of bytes stands for the several files of a folder, or for a safetensors file that is not all noise.

A mutated length field is refused at the door and nothing behind it is ever reached. So the fuzzer's safetensors are
`HEADER NUL DATA`, to which the true length is put in front, unless they begin with RAW, which stands for itself.
Files of a folder follow lines "#### NAME"; only `names` are written, so no input leaves its folder by our own doing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

RAW, SPLIT = b"RAW", b"\0"
_PART = re.compile(rb"(?:^|\n)#### ([A-Za-z0-9_.-]+)\n")


def tensor_file(data: bytes) -> bytes:
    """The safetensors file that `data` stands for."""
    if data.startswith(RAW):
        return data[len(RAW) :]
    header, _, body = data.partition(SPLIT)
    return len(header).to_bytes(8, "little") + header + body


def as_input(file: bytes) -> bytes:
    """The input that stands for a safetensors file."""
    length = int.from_bytes(file[:8], "little")
    return file[8 : 8 + length].rstrip(b" ") + SPLIT + file[8 + length :]


def header_input(tensors: Mapping[str, tuple[str, list[int], int]], metadata: Mapping[str, Any] | None = None) -> bytes:
    """An input with tensors of zeros: name -> (dtype, shape, bytes)."""
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": dict(metadata)}
    end = 0
    for name, (dtype, shape, size) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    return json.dumps(header).encode() + SPLIT + bytes(end)


def files_of(data: bytes) -> dict[str, bytes]:
    """The files of a folder by name; the last of a name counts."""
    pieces = _PART.split(data)
    return {name.decode(): body for name, body in zip(pieces[1::2], pieces[2::2], strict=True)}


def folder_input(files: Mapping[str, bytes]) -> bytes:
    """The input that stands for these files."""
    return b"".join(b"\n#### " + name.encode() + b"\n" + body for name, body in files.items())


def write_folder(data: bytes, folder: Path, names: Collection[str]) -> dict[str, bytes]:
    """Write the files among `names`; those that end in .safetensors as `tensor_file` has them."""
    files = {name: body for name, body in files_of(data).items() if name in names}
    for name, body in files.items():
        (folder / name).write_bytes(tensor_file(body) if name.endswith(".safetensors") else body)
    return files
