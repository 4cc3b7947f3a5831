"""A packed-data file written window by window: the same bytes as `write_packed` of everything at once.

The tensors of a safetensors file stand one after the other and its header says how long they are, so each grows in an
unnamed temporary file of its own and they are put together at the end. Memory: one window. Disk: the file twice while
it is put together, in `folder` or the temporary folder (TMPDIR).
"""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING

import numpy as np

from seatools.streams.tensors import write_header
from seatools.text.packed import TENSORS, Cuts, cuts_of, packed_metadata, packed_tensors
from seatools.text.packing import Rows

if TYPE_CHECKING:
    from seatools.text.documents import TokenizedDoc

_CODES = {"uint64": "U64", "uint32": "U32", "uint16": "U16", "uint8": "U8"}
_OFFSETS, _PER_SEGMENT, _PER_TOKEN = ("row_docs", "row_tokens"), ("doc_lens", "source_id"), ("input_ids", "loss_mask")
# Widest first, then by name, as `save_tensors` does.
_NAMES = sorted(TENSORS, key=lambda name: (-np.dtype(TENSORS[name]).itemsize, name))
COPY_BYTES = 1 << 20


class PackedWriter:
    """Packed data that grows by `add` and is written by `save`; `num_rows`, `num_tokens`, ... count what it holds."""

    def __init__(
        self, *, row_length: int, tokenizer_digest: str, sources: Sequence[str], folder: Path | None = None
    ) -> None:
        self.row_length, self.tokenizer_digest, self.sources = row_length, tokenizer_digest, sources
        self.num_rows = self.num_segments = self.num_tokens = self.num_targets = 0
        self.cuts = Cuts(0, 0)
        self._stack = ExitStack()
        self._parts: dict[str, IO[bytes]] = {
            name: self._stack.enter_context(tempfile.TemporaryFile(prefix=".sea-", dir=folder, buffering=COPY_BYTES))  # noqa: SIM115
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

    def add(self, rows: Rows, docs: Sequence[TokenizedDoc], source_ids: Sequence[int]) -> None:
        """Append one window: its rows (from `packing.pack_arrays`) and documents. Errors: as `write_packed`."""
        tensors = packed_tensors(
            rows, docs, source_ids, row_length=self.row_length, num_sources=len(self.sources)
        )  # fmt: skip
        self._append("row_docs", tensors["row_docs"][1:] + np.uint64(self.num_segments))
        self._append("row_tokens", tensors["row_tokens"][1:] + np.uint64(self.num_tokens))
        for name in TENSORS.keys() - set(_OFFSETS):
            self._append(name, tensors[name])
        self.num_rows += len(tensors["row_docs"]) - 1
        self.num_segments += len(tensors["doc_lens"])
        self.num_tokens += len(tensors["loss_mask"])
        self.num_targets += int(np.count_nonzero(tensors["loss_mask"]))
        cuts = cuts_of(rows, docs)
        self.cuts = Cuts(self.cuts.docs + cuts.docs, self.cuts.targets + cuts.targets)

    def save(self, stream: IO[bytes], *, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Write the file; returns its metadata, `extra` among it."""
        metadata = packed_metadata(
            row_length=self.row_length, tokenizer_digest=self.tokenizer_digest, sources=self.sources,
            num_tokens=self.num_tokens, num_targets=self.num_targets, cuts=self.cuts, extra=extra,
        )  # fmt: skip
        _write_header(stream, metadata, num_rows=self.num_rows, num_segments=self.num_segments)
        for name in _NAMES:
            self._parts[name].seek(0)
            shutil.copyfileobj(self._parts[name], stream, COPY_BYTES)
        return metadata

    def bytes_of(self, *, num_rows: int, num_segments: int, num_tokens: int, extra: Mapping[str, str]) -> int:
        """What a file of this size takes at most: its figures that are not known yet have no more digits than these."""
        metadata = packed_metadata(
            row_length=self.row_length, tokenizer_digest=self.tokenizer_digest, sources=self.sources,
            num_tokens=num_tokens, num_targets=num_tokens, cuts=Cuts(num_segments, num_tokens), extra=extra,
        )  # fmt: skip
        header = io.BytesIO()
        _write_header(header, metadata, num_rows=num_rows, num_segments=num_segments)
        lengths = _lengths(num_rows, num_segments, num_tokens)
        return header.tell() + sum(np.dtype(TENSORS[name]).itemsize * lengths[name] for name in _NAMES)

    def _append(self, name: str, values: np.ndarray) -> None:
        dtype = np.dtype(TENSORS[name]).newbyteorder("<")
        self._parts[name].write(np.ascontiguousarray(values, dtype=dtype).view(np.uint8).data)


def _lengths(num_rows: int, num_segments: int, num_tokens: int) -> dict[str, int]:
    """Numbers in each tensor."""
    rows, segments = dict.fromkeys(_OFFSETS, num_rows + 1), dict.fromkeys(_PER_SEGMENT, num_segments)
    return rows | segments | dict.fromkeys(_PER_TOKEN, num_tokens)


def _write_header(stream: IO[bytes], metadata: Mapping[str, str], *, num_rows: int, num_segments: int) -> None:
    lengths = _lengths(num_rows, num_segments, int(metadata["num_tokens"]))
    tensors = [
        (name, _CODES[TENSORS[name]], (lengths[name],), lengths[name] * np.dtype(TENSORS[name]).itemsize)
        for name in _NAMES
    ]
    write_header(stream, tensors, dict(sorted(metadata.items())))
