"""The documents of all sources, by place: offsets are kept in memory, never the documents.

A plain file is read again where it lies (at most 128 files open at a time). What cannot be read twice cheaply - stdin,
pipes, compressed files - goes once, decompressed, into one unnamed file of the private temporary folder (gone when the
process ends, however it ends), and so do records that a cleaning stage changed, into another. A file whose size, time
or inode changes between the first reading and the last is an error, for the plan would no longer be true of it; and
so is a line that no longer has the hash (xxh3) under which it was counted. Cost of a document once read: a `pread` and
a hash.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tempfile
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import IO, NamedTuple, cast

import numpy as np

from seatools.streams.errors import SeaError
from seatools.streams.inputs import bare_suffix, broken_stream, is_decompression_error, open_input, shown
from seatools.streams.records import Check, Record, RecordReader, Rejects, dump

_BOM = b"\xef\xbb\xbf"
MAX_OPEN_FILES = 128
COPY_BYTES = 1 << 20
Identity = tuple[int, int, int, int]  # size, times of modification and of the inode's change in ns, inode


class Place(NamedTuple):
    """Where a document lies: `length` bytes from `offset` of a file (decompressed), and their xxh3 of 64 bits."""

    file: int
    offset: int
    length: int
    xxh3: int


@dataclass
class StoredFile:
    """One input file of one source, or the records that its stages changed."""

    path: str
    is_text: bool
    """Its places hold plain lines (`.txt`), not JSON."""
    spool: _Spool | None
    """Where its bytes are kept, or None if they are read where they lie."""
    base: int
    """Where they begin in the spool."""
    identity: Identity | None
    """As it was when reading began; None for stdin, pipes and devices."""
    sha256: str | None = None
    """Of the decompressed bytes of stdin or a pipe once it was read to its end, or of a file whose index knows it; else
    the manifest hashes it."""
    is_input: bool = True


class DocumentStore:
    """Reads the lines of the sources once from end to end, and then any of them again."""

    def __init__(self) -> None:
        from xxhash import xxh3_64_intdigest

        self.digest = xxh3_64_intdigest
        self.files: list[StoredFile] = []
        self._streams, self._changed = _Spool(), _Spool()
        self._changed_file: int | None = None
        self._buffers = [bytearray(), bytearray()]
        self._open: OrderedDict[int, int] = OrderedDict()  # file number -> descriptor, the latest used last

    def __enter__(self) -> DocumentStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()
        self._streams.close()
        self._changed.close()

    def records(
        self, specs: Sequence[str], *, check: Check, rejects: Rejects, limit: int | None = None
    ) -> Iterator[tuple[Record, Place]]:
        """The records of a source, each with its place, from its files in the order of their names (also those of an
        `@list.txt`, so that the order of a list changes nothing)."""
        reader = _PlacedReader(self, specs, check, rejects, limit)
        for record in reader:
            offset, content = reader.lines.latest()
            yield record, Place(reader.file, offset, len(content), self.digest(content))

    def add_indexed(self, path: str, sha256: str) -> int:
        """Enter a file whose places are known already; of a compressed one the content is spooled. Its number."""
        with open_input(path) as stream:
            file = self._add(stream, path)
            file.sha256 = sha256
            if file.spool is not None:
                try:
                    while chunk := stream.read(COPY_BYTES):
                        file.spool.write(chunk)
                except Exception as error:
                    if not is_decompression_error(error):
                        raise
                    raise broken_stream(error, shown(path)) from error
        return len(self.files) - 1

    def keep(self, raw: bytes) -> Place:
        """A place for a record that stands in no file."""
        if self._changed_file is None:
            self._changed_file = len(self.files)
            self.files.append(StoredFile("a changed record", False, self._changed, 0, None, is_input=False))
        offset = self._changed.size
        self._changed.write(raw)
        return Place(self._changed_file, offset, len(raw), self.digest(raw))

    def line(self, place: Place) -> bytes:
        """A document as JSON without a line end: the bytes as they came, or {"text": ...} of a plain line."""
        buffer = bytearray(place.length)
        self._read(place.file, [(0, place.length, place.offset, place.xxh3)], memoryview(buffer))
        return self._as_json(buffer) if self.files[place.file].is_text else bytes(buffer)

    def blocks(
        self, files: np.ndarray, offsets: np.ndarray, lengths: np.ndarray, hashes: np.ndarray, block_bytes: int
    ) -> Iterator[tuple[memoryview, np.ndarray]]:
        """The documents at these places ([n] each) as lines with their ends, in this order, in blocks of at least one
        document and with more at most `block_bytes`; with each block, where its lines end ([lines] int64).

        Within a block they are read file by file in the order of offsets. A block is a view of one of two buffers that
        serve by turns (of bytes of its own where plain lines become JSON): it is good until the second next is asked
        for.
        """
        ends = np.cumsum(lengths + 1)
        cuts = _cuts(ends, block_bytes)
        firsts = np.array(cuts[:-1])
        block = np.repeat(np.arange(len(firsts)), np.diff(cuts))
        ends -= (ends - lengths - 1)[firsts][block]  # now from the beginning of the block
        order = np.lexsort((offsets, files, block))
        columns = ((ends - lengths - 1)[order], (ends - 1)[order], offsets[order], hashes[order])
        pieces = list(zip(*(column.tolist() for column in columns), strict=True))
        runs = np.flatnonzero((np.diff(files[order]) != 0) | (np.diff(block[order]) != 0)) + 1
        first_run = 0
        for first, last in zip(cuts[:-1], cuts[1:], strict=True):
            buffer = self._buffer(int(ends[last - 1]))
            whole = memoryview(buffer)
            last_run = int(np.searchsorted(runs, last))
            bounds = [first, *runs[first_run:last_run].tolist(), last]
            first_run = last_run + (last_run < len(runs) and int(runs[last_run]) == last)
            for start, stop in zip(bounds[:-1], bounds[1:], strict=True):
                self._read(int(files[order[start]]), pieces[start:stop], whole)
            np.frombuffer(buffer, dtype=np.uint8)[ends[first:last] - 1] = ord("\n")
            yield self._without_plain_lines(files[first:last], ends[first:last], whole)

    def _buffer(self, size: int) -> bytearray:
        self._buffers.reverse()
        if len(self._buffers[0]) < size:
            self._buffers[0] = bytearray(size)
        return self._buffers[0]

    def _without_plain_lines(
        self, files: np.ndarray, ends: np.ndarray, whole: memoryview
    ) -> tuple[memoryview, np.ndarray]:
        """The lines of a block and their ends, those of `.txt` files made into JSON."""
        if not any(self.files[file].is_text for file in np.unique(files).tolist()):
            return whole[: int(ends[-1])], ends
        parts: list[bytes | memoryview] = []
        for file, start, end in zip(files.tolist(), [0, *ends[:-1].tolist()], ends.tolist(), strict=True):
            is_text = self.files[file].is_text
            parts.append(self._as_json(whole[start : end - 1]) + b"\n" if is_text else whole[start:end])
        return memoryview(b"".join(parts)), np.cumsum([len(part) for part in parts])

    @staticmethod
    def _as_json(line: bytearray | memoryview) -> bytes:
        return dump({"text": str(line, "utf-8", "replace")})

    def _read(self, file: int, pieces: Iterable[tuple[int, int, int, int]], whole: memoryview) -> None:
        """Fill whole[start:end] from `offset` of the file for each piece (start, end, offset, xxh3)."""
        descriptor, base, digest, read = self._descriptor(file), self.files[file].base, self.digest, os.preadv
        for start, end, offset, xxh3 in pieces:
            piece = whole[start:end]
            done = read(descriptor, (piece,), base + offset)
            while done < end - start:
                more = read(descriptor, (piece[done:],), base + offset + done)
                if not more:
                    raise _changed(self.files[file].path, offset)
                done += more
            if digest(piece) != xxh3:
                raise _changed(self.files[file].path, offset)

    def check_unchanged(self) -> None:
        """Raise SeaError if any file is no longer what it was when its reading began."""
        for file in self.files:
            if file.identity is not None and identity_of(file.path) != file.identity:
                raise _changed(file.path)

    def _add(self, stream: IO[bytes], path: str) -> StoredFile:
        in_place = isinstance(stream, io.BufferedReader) and isinstance(stream.raw, io.FileIO) and path != "-"
        identity = None if path == "-" else identity_of(path)
        spool = None if in_place and identity is not None else self._streams
        is_text = bare_suffix(path) == ".txt"
        self.files.append(StoredFile(path, is_text, spool, spool.size if spool else 0, identity))
        return self.files[-1]

    def _descriptor(self, file: int) -> int:
        stored = self.files[file]
        if stored.spool is not None:
            return stored.spool.descriptor()
        if file in self._open:
            self._open.move_to_end(file)
            return self._open[file]
        if len(self._open) >= MAX_OPEN_FILES:
            os.close(self._open.popitem(last=False)[1])
        if identity_of(stored.path) != stored.identity:
            raise _changed(stored.path)
        self._open[file] = os.open(stored.path, os.O_RDONLY)
        return self._open[file]


class _Spool:
    """An unnamed temporary file that only grows; made when something is written."""

    def __init__(self) -> None:
        self.size = 0
        self._file: IO[bytes] | None = None

    def write(self, data: bytes) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="sea-mix-", buffering=COPY_BYTES)  # noqa: SIM115
        self._file.write(data)
        self.size += len(data)

    def descriptor(self) -> int:
        """For reading what was written so far."""
        assert self._file is not None
        self._file.flush()
        return self._file.fileno()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


class _CountedLines:
    """A stream that knows where its latest line stands; spooled as it is read, and hashed where that is the only time
    (stdin, pipes)."""

    def __init__(self, stream: IO[bytes], file: StoredFile) -> None:
        self.stream, self.file = stream, file
        self._line = b""
        self._end = 0
        self._sha256 = hashlib.sha256() if file.identity is None else None

    def readline(self, limit: int = -1) -> bytes:
        self._line = self.stream.readline(limit)
        self._end += len(self._line)
        if self.file.spool is not None:
            self.file.spool.write(self._line)
        if self._sha256 is not None:
            self._sha256.update(self._line)
            if not self._line:
                self.file.sha256 = self._sha256.hexdigest()
        return self._line

    def latest(self) -> tuple[int, bytes]:
        """Offset and bytes of the latest line, without its end and a byte order mark at the start of the file."""
        start = self._end - len(self._line)
        content = self._line.rstrip(b"\r\n")
        if start == 0 and content.startswith(_BOM):
            return len(_BOM), content[len(_BOM) :]
        return start, content


class _PlacedReader(RecordReader):
    """A RecordReader whose files are entered in the store as they are opened."""

    def __init__(
        self, store: DocumentStore, specs: Sequence[str], check: Check, rejects: Rejects, limit: int | None
    ) -> None:
        super().__init__(specs, check=check, rejects=rejects, limit=limit)
        self.paths.sort()
        self.store = store
        self.lines: _CountedLines
        self.file: int

    def _file(self, stream: IO[bytes], path: str) -> Iterator[Record]:
        self.file = len(self.store.files)
        self.lines = _CountedLines(stream, self.store._add(stream, path))
        yield from super()._file(cast(IO[bytes], self.lines), path)


def identity_of(path: str) -> Identity | None:
    """What tells one state of a regular file from another; None for what is no regular file (any more)."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    # The change time too: it cannot be set back, as `touch -r` does with the other after an edit in place.
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _changed(path: str, offset: int | None = None) -> SeaError:
    place = "" if offset is None else f" (at byte {offset:,})"
    return SeaError(f"{shown(path)} changed while it was mixed{place}", fix="run again when nothing writes to it")


def _cuts(ends: np.ndarray, block_bytes: int) -> list[int]:
    """Where blocks begin, and at last the number of documents: each holds one, or more in at most `block_bytes`."""
    cuts = [0]
    while cuts[-1] < len(ends):
        start = cuts[-1]
        before = int(ends[start - 1]) if start else 0
        cuts.append(max(start + 1, int(np.searchsorted(ends, before + block_bytes, side="right"))))
    return cuts
