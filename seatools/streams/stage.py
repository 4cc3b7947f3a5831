"""What cannot be counted and may take long: its name on stderr while it runs, so that nobody takes it for dead."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator

_TERMINAL, _ELSEWHERE = 1.0, 30.0
"""Seconds after which it is said, as with `Progress`."""


@contextlib.contextmanager
def stage(label: str, quiet: bool = False) -> Iterator[None]:
    """`label ...` once the block has run for a while; on a terminal the line goes again at its end."""
    if quiet:
        yield
        return
    terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    said = threading.Event()

    def say() -> None:
        said.set()
        sys.stderr.write(f"{label} ..." if terminal else f"{label} ...\n")
        sys.stderr.flush()

    timer = threading.Timer(_TERMINAL if terminal else _ELSEWHERE, say)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        if terminal and said.is_set():
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
