"""Appending to `samples.jsonl`: what is in it survives kill -9 at any point.

A line is one write to a descriptor opened for appending, so no buffer of ours can be lost and two lines never mix. What
a killed run left of a line is cut off when the next one opens the file. One process writes at a time (flock).
Cost: 10 us a line, and at the start one reading of what is there.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType

from seatools.eval.samples import Sample, is_torn, parse_sample
from seatools.streams.errors import UsageError
from seatools.streams.inputs import bare_suffix
from seatools.streams.outputs import sync_folder
from seatools.streams.records import BadRecord


class SampleFile:
    """An open samples file: `with SampleFile(path) as samples: if key not in samples: samples.append(sample)`.

    Raises UsageError where another process writes to it, and BadRecord, naming the line, for damage that no crash of
    ours makes; the file is left as it is then.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if bare_suffix(str(path)) != self.path.suffix.lower():
            raise UsageError(f"{path}: samples are appended, which compressed files do not take", fix="name a .jsonl")
        existed = self.path.exists()
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        try:
            self._lock()
            self.cut_off = 0
            """Bytes of a line that a killed run had begun, taken away."""
            self._keys = self._read()
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

    def _read(self) -> set[str]:
        keys, end, last = set(), 0, b""
        with open(self.path, "rb") as stream:
            for number, line in enumerate(stream, 1):
                last = line
                if not line.endswith(b"\n") and is_torn(line):
                    break
                end += len(line)
                if line.strip():
                    try:
                        keys.add(parse_sample(line).key)
                    except BadRecord as error:
                        error.where = f"{self.path}:{number}"
                        raise
            else:
                if last and not last.endswith(b"\n"):  # whole, but for its line end
                    os.write(self._descriptor, b"\n")
                return keys
        self.cut_off = len(last)
        os.ftruncate(self._descriptor, end)
        return keys

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    def __len__(self) -> int:
        return len(self._keys)

    def append(self, sample: Sample) -> bool:
        """Write a sample; False, and nothing written, where its key is there."""
        if sample.key in self._keys:
            return False
        line = sample.line()
        try:
            written = os.write(self._descriptor, line)
            while written < len(line):
                written += os.write(self._descriptor, line[written:])
        except OSError as error:  # a full disk: no half line stays
            os.ftruncate(self._descriptor, self._size)
            error.filename = error.filename or str(self.path)
            raise
        self._size += len(line)
        self._keys.add(sample.key)
        return True

    def close(self) -> None:
        """Write through to the disk and let the lock go."""
        if self._descriptor >= 0:
            os.fsync(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> SampleFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
