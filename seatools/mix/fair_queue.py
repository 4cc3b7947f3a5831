"""Which source gives the next document: always the one with the smallest emitted units over weight.

Weighted fair queuing instead of dice: for any two sources i, j and after any number of documents,
emitted_i / weight_i - emitted_j / weight_j is at most (the longest document of i) / weight_i, so the ratio holds in
every window and needs no random numbers. Ties go to the source named first. That order is the order of the
documents' clocks, units emitted before / weight, so it is made by merging sorted slices instead of asking a heap for
each document. Exact: clocks are compared as whole numbers, and in floating point only where their distance decides.
Cost: 2 bytes a document for the result, and a sort of each slice.
Source: Demers, Keshav, Shenker, SIGCOMM 1989, with a document for a packet.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np

OnExhaust = Literal["stop", "renormalize", "error"]
SLICE = 1 << 18  # documents in memory at a time, of all sources together
MIN_SLICE = 1 << 10
_CLEAR = 1e-15  # clocks in float64 that differ by more than this share of themselves are ordered rightly
_INT64 = 1 << 62


@dataclass(frozen=True)
class Schedule:
    """The order in which the sources give documents; the documents themselves come in the order of each source."""

    order: np.ndarray  # [emitted documents] uint16, the source of each
    emitted: list[int]  # [sources] units
    exhausted: list[int]  # sources that ran out while more was wanted of them, in the order in which they did

    @property
    def total(self) -> int:
        """Units of all sources together."""
        return sum(self.emitted)


Sizes = Callable[[int, int], np.ndarray]
"""sizes(start, stop): the units [stop - start] int64 of the documents from `start` on, in the order of emission."""
Observer = Callable[[np.ndarray, np.ndarray], None]
"""Told of each stretch of the schedule: sources [n] uint16 and units [n] int64 of its documents."""


def fair_queue(
    sizes: Sequence[Sizes],
    num_docs: Sequence[int],
    weights: Sequence[Fraction],
    *,
    budget: int | None,
    on_exhaust: OnExhaust,
    observe: Observer | None = None,
) -> Schedule:
    """Draw documents until their units reach `budget` (or without one, until a source runs out).

    `sizes[i]` gives the units of the `num_docs[i]` documents of source i. A source of weight 0 rests. The document that
    reaches the budget is the last one. When a source whose turn it is has run out, "stop" and "error" end the
    schedule there, so that the ratio is kept; "renormalize" goes on without it.
    """
    lanes = [
        _Lane(source, step, num_docs[source], sizes[source])
        for source, step in _clock_steps(weights).items()  # in the order of the sources
    ]
    depth = max(MIN_SLICE, SLICE // max(1, len(lanes)))
    order: list[np.ndarray] = []
    emitted, exhausted, total, since = [0] * len(weights), [], 0, 0
    while lanes and (budget is None or total < budget):
        for lane in lanes:
            lane.fill(depth)
        # Up to the first clock that is not known: that of a source with more to read, or at which the mix may end.
        open_lanes = [lane for lane in lanes if on_exhaust != "renormalize" or lane.read < lane.num_docs]
        until = min((lane.end for lane in open_lanes), default=max(lane.end for lane in lanes))
        slices = [lane.take(*until) for lane in lanes]
        sources, units = _merge(slices, since, until[0])
        since, last = until[0], until
        if budget is not None and total + int(units.sum()) >= budget:
            reached = int(np.searchsorted(np.cumsum(units), budget - total)) + 1
            sources, units = sources[:reached], units[:reached]
            last = _clock_of_last(slices, sources)
        order.append(sources)
        total += int(units.sum())
        for source, count in _sums(sources, units):
            emitted[source] += count
        if observe is not None and len(units):
            observe(sources, units)
        ended = sorted(lane.end for lane in lanes if lane.is_empty and lane.end <= last)
        if on_exhaust != "renormalize" and ended:
            if budget is None or total < budget:
                exhausted.append(ended[0][1])
                break
        else:
            exhausted.extend(source for _, source in ended)
            lanes = [lane for lane in lanes if not (lane.is_empty and lane.end <= last)]
    return Schedule(np.concatenate([np.empty(0, np.uint16), *order]), emitted, exhausted)


class _Lane:
    """The pending documents of one source."""

    def __init__(self, source: int, step: int, num_docs: int, sizes: Sizes) -> None:
        self.source, self.step, self.num_docs, self.sizes = source, step, num_docs, sizes
        self.read = 0  # documents
        self.served = 0  # units of the documents read
        self.units = self.before = np.empty(0, np.int64)  # of each pending document, and before it

    @property
    def end(self) -> tuple[int, int]:
        """(clock, source) after the documents read."""
        return self.served * self.step, self.source

    @property
    def is_empty(self) -> bool:
        """Whether all documents were read and taken."""
        return self.read == self.num_docs and len(self.units) == 0

    def fill(self, depth: int) -> None:
        if len(self.units) == 0 and self.read < self.num_docs:
            stop = min(self.num_docs, self.read + depth)
            self.units = self.sizes(self.read, stop)
            ends = np.cumsum(self.units)
            self.before = ends - self.units + self.served
            self.read, self.served = stop, self.served + int(ends[-1])

    def take(self, until: int, last: int) -> _Slice:
        """The pending documents that come before source `last` at clock `until`."""
        if self.source == last:
            count = len(self.units)
        else:
            bound = (until if self.source < last else until - 1) // self.step
            count = int(np.searchsorted(self.before, min(bound, _INT64), side="right"))
        taken = _Slice(self.source, self.step, self.before[:count], self.units[:count])
        self.before, self.units = self.before[count:], self.units[count:]
        return taken


@dataclass(frozen=True)
class _Slice:
    source: int
    step: int
    before: np.ndarray  # [n] int64, ascending
    units: np.ndarray  # [n] int64


def _clock_of_last(slices: list[_Slice], sources: np.ndarray) -> tuple[int, int]:
    """(clock, source) of the last document of `sources` [n], which were merged from the slices."""
    source = int(sources[-1])
    part = next(part for part in slices if part.source == source)
    return int(part.before[np.count_nonzero(sources == source) - 1]) * part.step, source


def _merge(slices: list[_Slice], since: int, until: int) -> tuple[np.ndarray, np.ndarray]:
    """Sources [n] uint16 and units [n] int64 of the documents in the order of (clock, source); clocks are between
    `since` and `until`."""
    slices = [part for part in slices if len(part.units)]
    if not slices:
        return np.empty(0, np.uint16), np.empty(0, np.int64)
    sources = np.repeat(np.array([part.source for part in slices], np.uint16), [len(part.units) for part in slices])
    units = np.concatenate([part.units for part in slices])
    if len(slices) == 1:
        return sources, units
    if max(until - since, *(part.step for part in slices)) < _INT64:
        # Clocks from `since` on, without a product that leaves int64.
        first = [int(part.before[0]) for part in slices]
        keys = [
            (part.before - start) * part.step + (start * part.step - since)
            for part, start in zip(slices, first, strict=True)
        ]
        ranks = np.argsort(np.concatenate(keys), kind="stable")
    else:
        ranks = _argsort_large(slices)
    return sources[ranks], units[ranks]


def _argsort_large(slices: list[_Slice]) -> np.ndarray:
    """The stable order of clocks that are too large for int64 (weights whose common multiple is): by float64, and
    exactly among those that it cannot tell apart."""
    lowest = min(part.step for part in slices)
    clocks = np.concatenate([part.before * (part.step / lowest) for part in slices])
    ranks = np.argsort(clocks, kind="stable")
    ordered = clocks[ranks]
    close = np.flatnonzero(np.diff(ordered) <= _CLEAR * ordered[1:])
    if len(close):
        before = np.concatenate([part.before for part in slices])
        steps = [part.step for part in slices]
        owner = np.repeat(np.arange(len(slices)), [len(part.units) for part in slices])
        # Runs of neighbours: close[a] ... close[b] are consecutive numbers, and one more document ends the run.
        for run in np.split(close, np.flatnonzero(np.diff(close) > 1) + 1):
            start, stop = int(run[0]), int(run[-1]) + 2
            exact = sorted(ranks[start:stop].tolist(), key=lambda i: (int(before[i]) * steps[owner[i]], i))
            ranks[start:stop] = exact
    return ranks


def _clock_steps(weights: Sequence[Fraction]) -> dict[int, int]:
    """By how much the clock of each source advances per unit: whole numbers in the ratio of 1 / weight."""
    common = math.lcm(*(weight.denominator for weight in weights))
    whole = {source: int(weight * common) for source, weight in enumerate(weights) if weight}
    highest = math.lcm(*whole.values())
    return {source: highest // weight for source, weight in whole.items()}


def _sums(sources: np.ndarray, units: np.ndarray) -> list[tuple[int, int]]:
    """(source, units) of each source that is there."""
    if len(units) and int(units.max()) * len(units) >= 1 << 53:  # more than the float64 of bincount holds exactly
        return [(source, int(units[sources == source].sum())) for source in np.unique(sources).tolist()]
    sums = np.bincount(sources, weights=units)
    return [(source, int(sums[source])) for source in np.flatnonzero(sums).tolist()]
