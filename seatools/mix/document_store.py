"""The documents of all sources, by place: offsets are kept in memory, never the documents.

A plain file is read again where it lies (`pread`, at most 128 files open at a time). What cannot be read twice
cheaply - stdin, pipes, compressed files - goes once, decompressed, into one unnamed file of the private temporary
folder (gone when the process ends, however it ends). A file whose size, time or inode changes between the first
reading and the last is an error, for the plan would no longer be true of it. Cost of a document once
read: one `pread`, about 2 us.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tempfile
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import IO, NamedTuple, cast

from seatools.streams.errors import SeaError
from seatools.streams.inputs import bare_suffix
from seatools.streams.records import Check, Record, RecordReader, Rejects, dump

_BOM = b"\xef\xbb\xbf"
MAX_OPEN_FILES = 128
Identity = tuple[int, int, int]  # size, modification time in ns, inode


class Place(NamedTuple):
    """Where a document lies: `length` bytes from `offset` of a file, or of the spool if its file is kept there."""

    file: int
    offset: int
    length: int


@dataclass
class StoredFile:
    """One input file of one source."""

    path: str
    is_text: bool
    """Its places hold plain lines (`.txt`), not JSON; never in the spool."""
    in_spool: bool
    identity: Identity | None
    """As it was when reading began; None for stdin, pipes and devices."""
    sha256: str | None = None
    """Of the decompressed bytes of stdin, once it was read to its end; the manifest hashes the others."""


class DocumentStore:
    """Reads the lines of the sources once from end to end, and then any of them again."""

    def __init__(self) -> None:
        self.files: list[StoredFile] = []
        self._spool: IO[bytes] | None = None
        self._spool_size = 0
        self._open: OrderedDict[int, int] = OrderedDict()  # file number -> descriptor, the latest used last

    def __enter__(self) -> DocumentStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()
        if self._spool is not None:
            self._spool.close()

    def records(
        self, specs: Sequence[str], *, check: Check, rejects: Rejects, limit: int | None = None
    ) -> Iterator[tuple[Record, Place]]:
        """The records of a source, each with its place."""
        reader = _PlacedReader(self, specs, check, rejects, limit)
        for record in reader:
            file = len(self.files) - 1
            if self.files[file].in_spool:
                yield record, Place(file, self._keep(record.raw), len(record.raw))
            else:
                yield record, Place(file, *reader.lines.latest())

    def line(self, place: Place) -> bytes:
        """A document as JSON without a line end: the bytes as they came, or {"text": ...} of a plain line."""
        raw = self._read(place)
        return dump({"text": raw.decode("utf-8", "replace")}) if self.files[place.file].is_text else raw

    def _read(self, place: Place) -> bytes:
        file, offset, length = place
        descriptor = self._descriptor(file)
        data = os.pread(descriptor, length, offset)
        while len(data) < length:
            more = os.pread(descriptor, length - len(data), offset + len(data))
            if not more:
                raise _changed(self.files[file].path)
            data += more
        return data

    def check_unchanged(self) -> None:
        """Raise SeaError if any file is no longer what it was when its reading began."""
        for file in self.files:
            if file.identity is not None and _identity(file.path) != file.identity:
                raise _changed(file.path)

    def _add(self, stream: IO[bytes], path: str) -> StoredFile:
        in_place = isinstance(stream, io.BufferedReader) and isinstance(stream.raw, io.FileIO) and path != "-"
        identity = None if path == "-" else _identity(path)
        in_spool = not in_place or identity is None
        is_text = bare_suffix(path) == ".txt" and not in_spool
        self.files.append(StoredFile(path, is_text, in_spool, identity))
        return self.files[-1]

    def _keep(self, raw: bytes) -> int:
        if self._spool is None:
            self._spool = tempfile.TemporaryFile(prefix="sea-mix-")  # noqa: SIM115 - lives as long as the store
        offset = self._spool_size
        self._spool.write(raw)
        self._spool_size += len(raw)
        return offset

    def _descriptor(self, file: int) -> int:
        stored = self.files[file]
        if stored.in_spool:
            assert self._spool is not None
            self._spool.flush()
            return self._spool.fileno()
        if file in self._open:
            self._open.move_to_end(file)
            return self._open[file]
        if len(self._open) >= MAX_OPEN_FILES:
            os.close(self._open.popitem(last=False)[1])
        if _identity(stored.path) != stored.identity:
            raise _changed(stored.path)
        self._open[file] = os.open(stored.path, os.O_RDONLY)
        return self._open[file]


class _CountedLines:
    """A stream that knows where its latest line stands; stdin is hashed on the way."""

    def __init__(self, stream: IO[bytes], file: StoredFile) -> None:
        self.stream, self.file = stream, file
        self._line = b""
        self._end = 0
        self._sha256 = hashlib.sha256() if file.path == "-" else None

    def readline(self, limit: int = -1) -> bytes:
        self._line = self.stream.readline(limit)
        self._end += len(self._line)
        if self._sha256 is not None:
            self._sha256.update(self._line)
            if not self._line:
                self.file.sha256 = self._sha256.hexdigest()
        return self._line

    def latest(self) -> tuple[int, int]:
        """Offset and length of the latest line, without its end and a byte order mark at the start of the file."""
        start = self._end - len(self._line)
        content = self._line.rstrip(b"\r\n")
        mark = len(_BOM) if start == 0 and content.startswith(_BOM) else 0
        return start + mark, len(content) - mark


class _PlacedReader(RecordReader):
    """A RecordReader whose files are entered in the store as they are opened."""

    def __init__(
        self, store: DocumentStore, specs: Sequence[str], check: Check, rejects: Rejects, limit: int | None
    ) -> None:
        super().__init__(specs, check=check, rejects=rejects, limit=limit)
        self.store = store
        self.lines: _CountedLines

    def _file(self, stream: IO[bytes], path: str) -> Iterator[Record]:
        self.lines = _CountedLines(stream, self.store._add(stream, path))
        yield from super()._file(cast(IO[bytes], self.lines), path)


def _identity(path: str) -> Identity | None:
    """What tells one state of a regular file from another; None for what is no regular file (any more)."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return (status.st_size, status.st_mtime_ns, status.st_ino) if stat.S_ISREG(status.st_mode) else None


def _changed(path: str) -> SeaError:
    return SeaError(f"{path} changed while it was mixed", fix="run again when nothing writes to it")
