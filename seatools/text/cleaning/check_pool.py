"""Documents checked in batches, in other processes where that pays, always given back in the order they came.

Processes and not threads, since regular expressions, Unicode tables and CLD2 hold the interpreter's lock. They start
(spawned, which imports the main script again) only after 8 MiB, and only for checks that cost more than sending a line
to and fro.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool

from seatools.streams.batches import batches
from seatools.streams.cores import available_cores
from seatools.streams.errors import SeaError
from seatools.streams.records import Record
from seatools.streams.worker_pool import WorkerPool
from seatools.text.cleaning.document_checks import Checked, DocumentChecks

BATCH_DOCS, BATCH_BYTES = 512, 1 << 20
POOL_FROM_BYTES = 8 << 20

Batch = list[tuple[Record, Checked]]


class CheckPool:
    """`checked(records, label)` for source after source; `workers` 0: all cores."""

    def __init__(self, checks: DocumentChecks, workers: int) -> None:
        options = checks.options
        self.checks = checks
        self.workers = workers or available_cores()
        self._pays = options.identifies or options.quality or bool(options.decontaminate)
        self._seen_bytes = 0
        self._pool: WorkerPool | None = None

    def checked(self, records: Iterable[Record], label: str | None) -> Iterator[Batch]:
        """The records with what their checks say, a batch at a time. Raises SeaError if a process is lost."""
        try:
            yield from self._checked(records, label)
        except BrokenProcessPool as error:
            raise SeaError(
                "a process that checks documents ended early: out of memory, or a script that is not made for them",
                fix='--workers 1 (workers=1); in a script, work under  if __name__ == "__main__":',
            ) from error

    def _checked(self, records: Iterable[Record], label: str | None) -> Iterator[Batch]:
        waiting: deque[tuple[list[Record], Future[list[Checked]]]] = deque()
        for batch in batches(records, lambda record: len(record.raw), max_size=BATCH_BYTES, max_items=BATCH_DOCS):
            self._seen_bytes += sum(len(record.raw) for record in batch)
            if self.workers == 1 or not self._pays or self._seen_bytes < POOL_FROM_BYTES:
                yield [(record, self.checks.check(record, label)) for record in batch]
                continue
            lines = [(record.raw, label) for record in batch]
            waiting.append((batch, self._workers().submit(_check, lines)))
            if len(waiting) > 2 * self.workers:
                yield _joined(waiting.popleft())
        while waiting:
            yield _joined(waiting.popleft())

    def close(self) -> None:
        """End the processes; what they still do is not wanted."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _workers(self) -> WorkerPool:
        if self._pool is None:
            self._pool = WorkerPool(self.workers, _start, (self.checks,))
        return self._pool


def _joined(item: tuple[list[Record], Future[list[Checked]]]) -> Batch:
    records, future = item
    return list(zip(records, future.result(), strict=True))


_checks: DocumentChecks  # of this worker process


def _start(checks: DocumentChecks) -> None:
    global _checks
    _checks = checks


def _check(lines: list[tuple[bytes, str | None]]) -> list[Checked]:
    return _checks.check_lines(lines)
