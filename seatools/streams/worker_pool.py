"""Processes that a command starts to share its work, and that know nothing of Ctrl-C.

A terminal sends Ctrl-C to every process of the group; a worker that is still importing answers with a traceback, and
one that works may break the pool before its owner has cleaned up. So workers are started with SIGINT blocked, which
they inherit, and the process that started them ends them.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context, resource_tracker
from typing import Any


class WorkerPool(ProcessPoolExecutor):
    """Spawned, not forked: thread pools of libraries do not survive a fork. An exception that leaves the block does not
    wait for work that nobody will read."""

    def __init__(self, workers: int, initializer: Callable[..., object], initargs: tuple[Any, ...]) -> None:
        super().__init__(workers, get_context("spawn"), initializer, initargs)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As ProcessPoolExecutor's, which starts its processes here."""
        with _interrupts_blocked():
            return super().submit(fn, *args, **kwargs)

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self.shutdown(cancel_futures=kind is not None)


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """A Ctrl-C waits until the block ends; processes started in it have it waiting for ever."""
    resource_tracker.ensure_running()  # it unblocks SIGINT when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
