"""How far the share of a source strays from its target in windows of a million units along the mix.

The windows start at every 50,000th unit and hold the documents that begin in them. Sums are kept for the stretches of
50,000 units in the latest window only, so memory does not grow with the mix.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

WINDOW = 1_000_000
PARTS = 20  # stretches in a window
_BLOCK = 1 << 14  # documents at a time


class WindowShares:
    """Told of the documents of a mix in order, it knows the greatest deviation of each source from its target."""

    def __init__(self, targets: Sequence[float], *, window: int = WINDOW) -> None:
        self.targets = np.array(targets, dtype=np.float64)  # [sources]
        self.stretch = max(1, window // PARTS)
        self.num_windows = 0
        self._greatest = np.zeros(len(targets))
        self._total = 0
        self._first = 0  # number of the stretch that is the first row of `_rows`
        self._rows: np.ndarray = np.zeros((1, len(targets)))  # [stretches, sources] units; the last one is not complete

    def add(self, sources: np.ndarray, units: np.ndarray) -> None:
        """The next documents: sources [n] uint16, units [n] int64."""
        for start in range(0, len(units), _BLOCK):
            self._add(sources[start : start + _BLOCK].astype(np.int64), units[start : start + _BLOCK])

    def greatest(self) -> list[float] | None:
        """[sources] the greatest distance of a share from its target; None where the mix is no window long."""
        return self._greatest.tolist() if self.num_windows else None

    def _add(self, sources: np.ndarray, units: np.ndarray) -> None:
        begins = self._total + np.cumsum(units) - units
        self._total += int(units.sum())
        stretches = begins // self.stretch - self._first
        num, width = int(stretches[-1]) + 1, len(self.targets)
        rows = np.bincount(stretches * width + sources, weights=units, minlength=num * width).reshape(num, width)
        rows[: len(self._rows)] += self._rows
        if num > PARTS:
            sums = np.concatenate([np.zeros((1, width)), np.cumsum(rows[:-1], axis=0)])
            windows = sums[PARTS:] - sums[:-PARTS]
            totals = windows.sum(axis=1)
            windows, totals = windows[totals > 0], totals[totals > 0]
            deviations = np.abs(windows / totals[:, None] - self.targets)
            self.num_windows += len(deviations)
            self._greatest = np.maximum(self._greatest, deviations.max(axis=0, initial=0.0))
        kept = min(num, PARTS)  # of a window, all but its first stretch, and the one that is not complete
        self._rows, self._first = rows[num - kept :], self._first + num - kept
