"""Ctrl-C: one is an interrupt, a second one ends what cleans up as well, a double one is one.

The first raises KeyboardInterrupt, which takes temporary files away on its way out. Fingers press twice, and a process
that others have started may get it from the terminal and from them: Python's own handler would raise again in the
middle of the cleaning up, and leave those files.
"""

from __future__ import annotations

import signal
import time
from types import FrameType

GRACE = 0.5
"""Seconds after an interrupt in which another one changes nothing."""


def handle_interrupts() -> None:
    """From now on a second SIGINT within GRACE seconds is ignored. For the main thread; where SIGINT is ignored already
    (a job in the background of a script) it stays so."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return
    last = time.monotonic() - GRACE

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= GRACE:
            last = now
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
