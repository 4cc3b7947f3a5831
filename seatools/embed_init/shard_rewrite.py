"""One safetensors file with some tensors replaced: a new header, the replaced tensors, every other byte as it was.

Tensors keep their order, except that wider dtypes go first: torch refuses a tensor that does not begin at a multiple of
its width, and a longer bf16 matrix before an fp32 one could shift it so. Memory: one buffer.
"""

from __future__ import annotations

import json
from pathlib import Path

from seatools.embed_init.checkpoint import Tensor
from seatools.embed_init.matrix_edit import MatrixEdit
from seatools.streams.errors import SeaError
from seatools.streams.tensors import read_header

_BUFFER = 8 << 20
_WIDTH = {"F64": 8, "I64": 8, "U64": 8, "C64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2}


def rewrite_shard(source: Path, target: Path, tensors: list[Tensor], edits: dict[str, MatrixEdit]) -> None:
    """Write `source` to `target` with the tensors named in `edits` replaced. `tensors`: all of it, by position."""
    _, metadata, _ = read_header(source)
    ordered = sorted(tensors, key=lambda tensor: -_WIDTH.get(tensor.dtype, 1))  # stable
    header: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    offset = 0
    for tensor in ordered:
        edit = edits.get(tensor.name)
        size, shape = (edit.num_bytes, edit.shape) if edit else (tensor.num_bytes, tensor.shape)
        header[tensor.name] = {"dtype": tensor.dtype, "shape": [*shape], "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with source.open("rb") as reader, target.open("xb") as writer:
        writer.write(len(text).to_bytes(8, "little"))
        writer.write(text)
        for tensor in ordered:
            if tensor.name in edits:
                for block in edits[tensor.name].bytes():
                    writer.write(block)
                continue
            reader.seek(tensor.start)
            left = tensor.num_bytes
            while left:
                block = reader.read(min(left, _BUFFER))
                if not block:
                    raise SeaError(f"{source} became shorter while it was read")
                writer.write(block)
                left -= len(block)
