"""One safetensors file with some tensors replaced: a new header, the replaced tensors, every other byte as it was.

Tensors keep their order, except that wider dtypes go first: torch refuses a tensor that does not begin at a multiple of
its width, and a longer bf16 matrix before an fp32 one could shift it so. Memory: one block.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path

from seatools.embed_init.checkpoint import Tensor
from seatools.embed_init.matrix_edit import MatrixEdit
from seatools.streams.errors import SeaError
from seatools.streams.tensors import read_header, write_header

_BLOCK = 256 << 10  # stays in a core's cache: 2 MB took a sixth more processor time over all
_WIDTH = {"F64": 8, "I64": 8, "U64": 8, "C64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2}


Block = bytes | memoryview


def shard_bytes(source: Path, tensors: list[Tensor], edits: Mapping[str, MatrixEdit]) -> Iterator[Block]:
    """The file `source` with the tensors named in `edits` replaced, in blocks. `tensors`: all of it, by position.

    A block is good until the next but one is asked for.
    """
    _, metadata, _ = read_header(source)
    ordered = sorted(tensors, key=lambda tensor: -_WIDTH.get(tensor.dtype, 1))  # stable
    rows = [
        (tensor.name, tensor.dtype, found.shape, found.num_bytes)
        for tensor in ordered
        for found in (edits.get(tensor.name, tensor),)
    ]
    header = io.BytesIO()
    write_header(header, rows, metadata)
    yield header.getvalue()
    for tensor in ordered:
        if tensor.name in edits:
            yield from edits[tensor.name].bytes()
        else:
            yield from file_blocks(source, tensor.start, tensor.num_bytes)


def file_blocks(path: Path, start: int, num_bytes: int) -> Iterator[memoryview]:
    """Bytes of a file in blocks of 256 KiB, each good until the next but one is asked for: two buffers take turns."""
    left = num_bytes
    with path.open("rb", buffering=0) as reader:
        reader.seek(start)
        for buffer in itertools.cycle([memoryview(bytearray(min(_BLOCK, left))) for _ in range(2)]):
            if not left:
                return
            try:
                size = reader.readinto(buffer[:left])
            except OSError as error:
                raise SeaError(f"{path} cannot be read: {error.strerror}") from error
            if not size:
                raise SeaError(f"{path} became shorter while it was read")
            left -= size
            yield buffer[:size]
