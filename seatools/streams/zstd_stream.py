"""A zstd file as a stream of bytes, frame after frame, that notices when it was cut off.

`zstandard`'s own stream reader ends quietly on a truncated frame (0.25, checked in the tests), so half a corpus
would pass for a whole one. Input is fed a KiB at a time: four bytes of it can stand for 128 KiB, so this bounds
what is held at once to 32 MiB, and costs nothing measurable (730 against 780 MB/s).
"""

from __future__ import annotations

import io
import re
from typing import IO, Any

# An ordinary frame, or a skippable one (pzstd and seekable files begin with those).
MAGIC = re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18")
_FEED = 1 << 10


class ZstdStream(io.RawIOBase):
    """Decompressed view of `source`; EOFError when the last frame is incomplete."""

    def __init__(self, source: IO[bytes]) -> None:
        import zstandard

        self._source = source
        self._make = zstandard.ZstdDecompressor().decompressobj
        self._frame = self._make()
        self._started = False  # whether the frame at hand has been fed
        self._ready = memoryview(b"")
        self._unread = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        while not self._ready:
            if not self._fill():
                return 0
        count = min(len(view), len(self._ready))
        view[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def _fill(self) -> bool:
        chunk = self._unread or self._source.read(_FEED)
        self._unread = b""
        if not chunk:
            if self._started:
                raise EOFError("the zstd stream ends inside a frame")
            return False
        self._started = True
        self._ready = memoryview(self._frame.decompress(chunk))
        if self._frame.eof:
            self._unread = self._frame.unused_data
            self._frame, self._started = self._make(), False
        return True

    def close(self) -> None:
        if not self.closed:
            self._source.close()
        super().close()
