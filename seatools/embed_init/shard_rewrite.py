"""One safetensors file with some tensors replaced: a new header, the replaced tensors, every other byte as it was.

Tensors keep their order, except that wider dtypes go first: torch refuses a tensor that does not begin at a multiple of
its width, and a longer bf16 matrix before an fp32 one could shift it so. Memory: one buffer.
"""

from __future__ import annotations

from pathlib import Path

from seatools.embed_init.checkpoint import Tensor
from seatools.embed_init.matrix_edit import MatrixEdit
from seatools.streams.errors import SeaError
from seatools.streams.tensors import read_header, write_header

_BUFFER = 8 << 20
_WIDTH = {"F64": 8, "I64": 8, "U64": 8, "C64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2}


def rewrite_shard(source: Path, target: Path, tensors: list[Tensor], edits: dict[str, MatrixEdit]) -> None:
    """Write `source` to `target` with the tensors named in `edits` replaced. `tensors`: all of it, by position."""
    _, metadata, _ = read_header(source)
    ordered = sorted(tensors, key=lambda tensor: -_WIDTH.get(tensor.dtype, 1))  # stable
    rows = [
        (tensor.name, tensor.dtype, found.shape, found.num_bytes)
        for tensor in ordered
        for found in (edits.get(tensor.name, tensor),)
    ]
    with source.open("rb") as reader, target.open("xb") as writer:
        write_header(writer, rows, metadata)
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
