"""The lines that the reading of a source refuses, told in the order of its documents for any number of workers.

A line is refused where it is parsed, where a stage has made something of it, or where its tokens are counted, and as
these read ahead of one another by as much as there are workers, the refusals meet in no certain order. At each of the
three points by itself they do come in that of the documents, so each point has a list, and the lists are merged when
the file (with stages, the source) is done. A list is in memory up to 1 MiB and then in an unnamed temporary file.
"""

from __future__ import annotations

import heapq
import json
import tempfile
from collections.abc import Iterator, Sequence
from typing import IO

from seatools.mix.index_sidecar import RejectedLine
from seatools.streams.inputs import shown
from seatools.streams.records import BadRecord, Rejects

IN_MEMORY = 1 << 20
READING, CHECKING, COUNTING = range(3)  # the points, in the order in which a record passes them
_Key = tuple[int, int]  # number of the file, line


class HeldRejects:
    """`at(point)` takes refusals (or under `fail` raises them), `release` hands all of them on.

    `paths`: the files that are read, in order.
    """

    def __init__(self, real: Rejects, paths: Sequence[str]) -> None:
        self.real, self.paths = real, paths
        self.num_bytes = 0
        """Of the lines that are held."""
        self._numbers = {path: number for number, path in enumerate(paths)}
        self._points = [_Point(self), _Point(self), _Point(self)]

    def at(self, point: int) -> Rejects:
        """The policy for what is refused at this point."""
        return self._points[point]

    def release(self) -> Iterator[RejectedLine]:
        """Hand on what is held, and give each line back for an index."""
        for (number, _), row in heapq.merge(*(point.rows() for point in self._points), key=lambda item: item[0]):
            refuse_again(self.real, self.paths[number], row)
            yield row
        for point in self._points:
            point.close()

    def number_of(self, path: str) -> int:
        """The number of a file among `paths`."""
        return self._numbers[path]


def refuse_again(rejects: Rejects, path: str, row: RejectedLine) -> None:
    """Hand a line of a file that was refused before to a policy, which raises it under `fail`."""
    error = BadRecord(row.reason, row.what, where=row.where or f"{shown(path)}:{row.line}", fix=row.fix)
    rejects.take(error, row.raw, path, row.line)


class _Point(Rejects):
    """What is refused at one point, in the order in which it was."""

    def __init__(self, held: HeldRejects) -> None:
        super().__init__(held.real.on_error, None, held.real.quarantine_path)
        self._held = held
        self._list: IO[bytes] | None = None

    def take(self, error: BadRecord, raw: bytes, path: str, line: int) -> None:
        """Keep one bad line."""
        if self.on_error == "fail":
            raise error
        if self._list is None:
            self._list = tempfile.SpooledTemporaryFile(IN_MEMORY, prefix="sea-mix-")  # noqa: SIM115
        where = None if error.where == f"{shown(path)}:{line}" else error.where
        row = [self._held.number_of(path), line, error.reason, error.what, where, error.fix, raw.decode("latin-1")]
        self._list.write(json.dumps(row).encode() + b"\n")  # every byte is one character of latin-1
        self._held.num_bytes += len(raw)

    def rows(self) -> Iterator[tuple[_Key, RejectedLine]]:
        if self._list is None:
            return
        self._list.seek(0)
        for stored in self._list:
            number, line, reason, what, where, fix, raw = json.loads(stored)
            yield (number, line), RejectedLine(line, reason, what, where, fix, raw.encode("latin-1"))

    def close(self) -> None:
        if self._list is not None:
            self._list.close()
            self._list = None
