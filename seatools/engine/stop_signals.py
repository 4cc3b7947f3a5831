"""SIGTERM and SIGUSR1 as a wish to stop: a flag that the run reads where stopping is safe.

Schedulers send SIGTERM before they take a machine away, Slurm's `--signal=USR1@120` two minutes earlier. A handler that
saved by itself could meet half an update or another save; so it only notes the signal, and a second one changes
nothing. Ctrl-C stays KeyboardInterrupt. Handlers can be set in the main thread only; elsewhere nothing is caught.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from seatools.streams.errors import Preempted

CAUGHT = (signal.SIGTERM, signal.SIGUSR1)


class _Stopped(BaseException):
    """On its way to `EndOnSignal`; no exception that somebody takes for a bad record."""


class EndOnSignal:
    """`with EndOnSignal():` around what comes before and after the steps: either signal ends it, as Preempted.

    Packing, loading and exporting leave nothing half done behind, so they are not waited for; --resume does them again.
    """

    def __init__(self) -> None:
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> EndOnSignal:
        self._previous = _handle(self._end)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _put_back(self._previous)
        if isinstance(error, _Stopped):
            raise Preempted(f"stopped by {error}", fix="the same command with --resume") from None

    def _end(self, number: int, frame: FrameType | None) -> None:
        for caught in CAUGHT:  # a second one must not cut the clearing away short
            signal.signal(caught, signal.SIG_IGN)
        raise _Stopped(signal.Signals(number).name)


class StopSignals:
    """`with StopSignals() as signals:` and then `signals.received`: the name of the first one, or None."""

    def __init__(self) -> None:
        self.received: str | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignals:
        self._previous = _handle(self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _put_back(self._previous)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = self.received or signal.Signals(number).name


def _handle(handler: Callable[[int, FrameType | None], None]) -> dict[signal.Signals, Any]:
    """Set the handler of the signals; returns those that were there. Nothing outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {number: signal.signal(number, handler) for number in CAUGHT}


def _put_back(previous: dict[signal.Signals, Any]) -> None:
    for number, handler in previous.items():
        # None: a handler that was not set from Python, which cannot be put back by it
        signal.signal(number, signal.SIG_DFL if handler is None else handler)
