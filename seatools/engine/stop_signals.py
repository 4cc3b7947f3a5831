"""SIGTERM and SIGUSR1 as a wish to stop: a flag that the run reads where stopping is safe.

Schedulers send SIGTERM before they take a machine away, Slurm's `--signal=USR1@120` two minutes earlier. A handler that
saved by itself could meet half an update or another save; so it only notes the signal, and a second one changes
nothing. Ctrl-C stays KeyboardInterrupt. Handlers can be set in the main thread only; elsewhere nothing is caught.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

CAUGHT = (signal.SIGTERM, signal.SIGUSR1)


class StopSignals:
    """`with StopSignals() as signals:` and then `signals.received`: the name of the first one, or None."""

    def __init__(self) -> None:
        self.received: str | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._note) for number in CAUGHT}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            # None: a handler that was not set from Python, which cannot be put back by it
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = self.received or signal.Signals(number).name
