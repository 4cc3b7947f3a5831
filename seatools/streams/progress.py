"""Progress on stderr: a bar on a terminal, a plain line every thirty seconds elsewhere, nothing with `-q`.

The bar appears only after one second, so short runs stay clean and do not pay for importing rich (88 ms).
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, TypeVar

from seatools.streams.sizes import human_count

_FIRST, _EVERY = 1.0, 30.0
_Item = TypeVar("_Item")


class Progress:
    """`with Progress("counting", total=n, unit="docs") as progress: progress.advance(k)`."""

    def __init__(self, label: str, total: float | None = None, unit: str = "docs", quiet: bool = False) -> None:
        self.label, self.total, self.unit, self.quiet = label, total, unit, quiet
        self.done = 0.0
        self._start = self._last = time.monotonic()
        self._bar: Any = None
        self._task: Any = None
        self._room = 0  # columns of the terminal for the note
        self._terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, count: float = 1, note: str = "") -> None:
        """Say that `count` more units are done; `note` follows the figures."""
        self.done += count
        if self.quiet:
            return
        now = time.monotonic()
        if self._terminal:
            if self._bar is None and now - self._start >= _FIRST:
                self._open()
            if self._bar is not None and now - self._last >= 0.1:
                self._last = now
                self._bar.update(self._task, completed=self.done, note=self._fitting(note))
        elif now - self._last >= _EVERY:
            self._last = now
            sys.stderr.write(self._line(now, note) + "\n")

    def counting(self, items: Iterable[_Item]) -> Iterator[_Item]:
        """The items, each a unit that is done once the next is asked for."""
        for item in items:
            yield item
            self.advance()

    def _fitting(self, note: str) -> str:
        """As many of the figures, from the first on, as the terminal has room for."""
        figures = note.split(", ")
        while figures and len(", ".join(figures)) > self._room:
            figures.pop()
        return ", ".join(figures)

    def _line(self, now: float, note: str) -> str:
        rate = self.done / max(now - self._start, 1e-9)
        of = f"/{human_count(self.total)}" if self.total else ""
        left = f", {max(self.total - self.done, 0) / rate:.0f} s left" if self.total and rate else ""
        return f"{self.label}: {human_count(self.done)}{of} {self.unit}, {human_count(rate)}/s{left} {note}".rstrip()

    def _open(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        console = Console(stderr=True)
        counts = "{task.completed:.0f}" + (f"/{self.total:.0f}" if self.total else "") + f" {self.unit}"
        # rich would cut every column alike: on a narrow terminal the bar is shorter, and the note's last figures go.
        width = 40 if console.width >= 100 else 20 if console.width >= 75 else 0
        columns = [
            TextColumn("{task.description}"),
            *([BarColumn(width)] if width else []),
            TextColumn(counts),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        ]
        digits = len(f"{self.total or 10**9:.0f}")
        shown = len(self.label) + width + digits * (2 if self.total else 1) + len(f"/ {self.unit}") + len("-:--:--")
        self._room = console.width - shown - len(columns)
        self._bar = Bar(*columns, console=console, transient=True)
        self._task = self._bar.add_task(self.label, total=self.total, completed=int(self.done), note="")
        self._bar.start()
