"""A JSONL file that grows while a run lasts: what is in it survives kill -9 at any point.

A line is one write to a descriptor opened for appending, so no buffer of ours can be lost and two lines never mix. What
a killed run left of a line is cut off when the next one opens the file. One process writes at a time (flock).
Cost: 10 us a line, and at the start one reading of what is there.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

import orjson

from seatools.streams.errors import UsageError
from seatools.streams.outputs import sync_folder
from seatools.streams.records import BadRecord


class AppendedLines:
    """Lines under keys: `with AppendedLines(path, key_of) as lines: if key not in lines: lines.put(key, line)`.

    `key_of` names the key of a line that is there already, and raises BadRecord for one that is none. Raises UsageError
    where another process writes to the file, and BadRecord, naming the line, for damage that no crash of ours makes;
    the file is left as it is then.
    """

    def __init__(self, path: str | Path, key_of: Callable[[bytes], str]) -> None:
        self.path, self._key_of = Path(path), key_of
        existed = self.path.exists()
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        try:
            self._lock()
            self.cut_off = 0
            """Bytes of a line that a killed run had begun, taken away."""
            self._places = self._read()
            self._size = os.fstat(self._descriptor).st_size
        except BaseException:
            os.close(self._descriptor)
            raise
        if not existed:
            sync_folder(self.path.absolute().parent)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"another run is writing to {self.path}", fix="wait for its end, or give this one a file of its own"
            ) from None
        except OSError:
            pass  # a file system without locks

    def _read(self) -> dict[str, tuple[int, int]]:
        places: dict[str, tuple[int, int]] = {}
        end, last = 0, b""
        with open(self.path, "rb") as stream:
            for number, line in enumerate(stream, 1):
                last = line
                if not line.endswith(b"\n") and is_torn(line):
                    break
                if line.strip():
                    try:
                        places.setdefault(self._key_of(line), (end, len(line)))
                    except BadRecord as error:
                        error.where = f"{self.path}:{number}"
                        raise
                end += len(line)
            else:
                if last and not last.endswith(b"\n"):  # whole, but for its line end
                    os.write(self._descriptor, b"\n")
                return places
        self.cut_off = len(last)
        os.ftruncate(self._descriptor, end)
        return places

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def put(self, key: str, line: bytes) -> bool:
        """Write a line, its line end included; False, and nothing written, where its key is there."""
        if key in self._places:
            return False
        try:
            written = os.write(self._descriptor, line)
            while written < len(line):
                written += os.write(self._descriptor, line[written:])
        except OSError as error:  # a full disk: no half line stays
            os.ftruncate(self._descriptor, self._size)
            error.filename = error.filename or str(self.path)
            raise
        self._places[key] = self._size, len(line)
        self._size += len(line)
        return True

    def get(self, key: str) -> bytes:
        """The line under a key, read from the file."""
        start, length = self._places[key]
        return os.pread(self._descriptor, length, start)

    def close(self) -> None:
        """Write through to the disk and let the lock go."""
        if self._descriptor >= 0:
            os.fsync(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> AppendedLines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def is_torn(last: bytes) -> bool:
    """Whether a last line without line end is a piece of one. (A piece of an object is never JSON itself.)"""
    try:
        orjson.loads(last)
    except orjson.JSONDecodeError:
        return True
    return False


def rank_file(path: Path, rank: int) -> Path:
    """Where process `rank` (not the main one) of a run appends what the main one moves into `path`."""
    return path.with_name(f"{path.name}.rank{rank}")


def rank_files(path: Path) -> list[Path]:
    """The files of other processes that are there."""
    named = re.compile(re.escape(path.name) + r"\.rank[1-9]\d*")
    return sorted(file for file in path.absolute().parent.iterdir() if named.fullmatch(file.name))
