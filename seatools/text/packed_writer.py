"""A packed-data file written window by window: the same bytes as `write_packed` of everything at once.

The tensors of a safetensors file stand one after the other and its header says how long they are, so each grows in an
unnamed temporary file of its own and they are put together at the end. Memory: one window. Disk: the file twice while
it is put together, in the temporary folder (TMPDIR).
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import IO, TYPE_CHECKING

import numpy as np

from seatools.streams.tensors import write_header
from seatools.text.packed import TENSORS, packed_metadata, packed_tensors
from seatools.text.packing import Rows

if TYPE_CHECKING:
    from seatools.text.documents import TokenizedDoc

_CODES = {"uint64": "U64", "uint32": "U32", "uint16": "U16", "uint8": "U8"}
_OFFSETS = ("row_docs", "row_tokens")
COPY_BYTES = 1 << 20


class PackedWriter:
    """Packed data that grows by `add` and is written by `save`; `num_rows`, `num_tokens`, ... count what it holds."""

    def __init__(self, *, row_length: int, tokenizer_digest: str, sources: Sequence[str]) -> None:
        self.row_length, self.tokenizer_digest, self.sources = row_length, tokenizer_digest, sources
        self.num_rows = self.num_segments = self.num_tokens = self.num_targets = 0
        self._stack = ExitStack()
        self._parts: dict[str, IO[bytes]] = {
            name: self._stack.enter_context(tempfile.TemporaryFile(prefix="sea-packed-", buffering=COPY_BYTES))  # noqa: SIM115
            for name in TENSORS
        }
        for name in _OFFSETS:
            self._append(name, np.zeros(1, dtype=np.uint64))

    def __enter__(self) -> PackedWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def num_bytes(self) -> int:
        """Of the tensors."""
        return sum(part.tell() for part in self._parts.values())

    def tensors(self, rows: Rows, docs: Sequence[TokenizedDoc], source_ids: Sequence[int]) -> dict[str, np.ndarray]:
        """The tensors of one window, for `add`. Errors: as `write_packed`."""
        return packed_tensors(rows, docs, source_ids, row_length=self.row_length, num_sources=len(self.sources))

    def add(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Append one window."""
        self._append("row_docs", tensors["row_docs"][1:] + np.uint64(self.num_segments))
        self._append("row_tokens", tensors["row_tokens"][1:] + np.uint64(self.num_tokens))
        for name in TENSORS.keys() - set(_OFFSETS):
            self._append(name, tensors[name])
        self.num_rows += len(tensors["row_docs"]) - 1
        self.num_segments += len(tensors["doc_lens"])
        self.num_tokens += len(tensors["loss_mask"])
        self.num_targets += int(np.count_nonzero(tensors["loss_mask"]))

    def save(self, stream: IO[bytes]) -> dict[str, str]:
        """Write the file; returns its metadata."""
        metadata = packed_metadata(
            row_length=self.row_length, tokenizer_digest=self.tokenizer_digest, sources=self.sources,
            num_tokens=self.num_tokens, num_targets=self.num_targets,
        )  # fmt: skip
        # Widest first, then by name, as `save_tensors` does.
        names = sorted(TENSORS, key=lambda name: (-np.dtype(TENSORS[name]).itemsize, name))
        rows = []
        for name in names:
            size = self._parts[name].tell()
            rows.append((name, _CODES[TENSORS[name]], (size // np.dtype(TENSORS[name]).itemsize,), size))
        write_header(stream, rows, dict(sorted(metadata.items())))
        for name in names:
            self._parts[name].seek(0)
            shutil.copyfileobj(self._parts[name], stream, COPY_BYTES)
        return metadata

    def _append(self, name: str, values: np.ndarray) -> None:
        dtype = np.dtype(TENSORS[name]).newbyteorder("<")
        self._parts[name].write(np.ascontiguousarray(values, dtype=dtype).view(np.uint8).data)
