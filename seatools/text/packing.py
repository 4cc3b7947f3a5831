"""Documents into rows of a fixed length: windowed best-fit decreasing.

Within each window of documents the longest comes first, and each goes into the row with the smallest space that still
holds it (Ding et al., ICML 2024, arXiv 2404.10830: concatenation's fill without cutting documents that fit). The free
spaces are one integer with a bit per length: the best fit for n tokens is the lowest set bit at or above n, found in
three integer operations instead of a tree walk. A document longer than a row is cut into full rows and a rest. Rows
are shuffled at the end, for the order of packing would show long documents first. Each window stands alone, so memory
beyond the result is O(window + row_length).
Measured (300,000 log-normal documents, mean 679 tokens, 2 % longer than 4096; 2-core VM): rows of 4096 are 99.97 % full
at 294,000 documents/s, of 32,768 99.81 % at 237,000/s, of 131,072 99.1 % at 119,000/s.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from seatools.streams.errors import SeaError, UsageError

Overflow = Literal["split", "truncate", "drop", "error"]


class Segment(NamedTuple):
    """Tokens [start, start + length) of document `doc`."""

    doc: int
    start: int
    length: int


def pack(
    lengths: Sequence[int] | np.ndarray,
    row_length: int,
    *,
    window: int = 10_000,
    seed: int = 0,
    overflow: Overflow = "split",
) -> list[list[Segment]]:
    """Rows of at most `row_length` tokens that hold every document of the given lengths (tokens; empty ones vanish).

    A document that fits is never cut. `overflow` says what becomes of one that does not: "split" cuts it into
    consecutive segments of `row_length` and a rest, "truncate" keeps its first `row_length` tokens, "drop" leaves it
    out, "error" raises SeaError. The rows come in an order that depends on `seed` and on their number alone, the same
    on every platform and numpy release (argsort of raw PCG64 words; NEP 19 fixes those, not `permutation`).
    """
    if row_length < 1 or window < 1:
        raise UsageError(f"row length and window must be at least 1, got {row_length} and {window}")
    if overflow not in ("split", "truncate", "drop", "error"):
        raise UsageError(f"overflow must be split, truncate, drop or error, not {overflow!r}")
    sizes = np.asarray(lengths, dtype=np.int64)
    if sizes.size and int(sizes.min()) < 0:
        raise UsageError("a document cannot have a negative length")

    rows: list[list[Segment]] = []
    for first in range(0, len(sizes), window):
        _pack_window(sizes[first : first + window], first, row_length, overflow, rows)
    order = np.argsort(np.random.PCG64(seed).random_raw(len(rows)), kind="stable")
    return [rows[i] for i in order.tolist()]


def _pack_window(sizes: np.ndarray, first: int, row_length: int, overflow: str, rows: list[list[Segment]]) -> None:
    """Append to `rows` those of one window; `sizes[i]` is the length of document `first + i`."""
    sizes = sizes.copy()  # it may be the caller's array
    starts = np.zeros_like(sizes)
    for i in np.flatnonzero(sizes > row_length).tolist():
        doc, length = first + i, int(sizes[i])
        if overflow == "error":
            raise SeaError(
                f"document {doc} has {length:,} tokens, more than a row of {row_length:,}",
                fix="allow another overflow (split, truncate or drop), or make the rows longer",
            )
        rest = {"split": length % row_length, "truncate": row_length, "drop": 0}[overflow]
        if overflow == "split":
            starts[i] = length - rest
            rows.extend([Segment(doc, start, row_length)] for start in range(0, length - rest, row_length))
        sizes[i] = rest

    order = np.argsort(-sizes, kind="stable")  # longest first; equal ones in document order
    order = order[: np.count_nonzero(sizes)]
    spaces = 0  # bit s is set while some row has exactly s free tokens
    rows_with: defaultdict[int, list[list[Segment]]] = defaultdict(list)  # free tokens -> those rows
    for doc, start, length in zip((order + first).tolist(), starts[order].tolist(), sizes[order].tolist(), strict=True):
        fitting = spaces >> length
        if fitting:
            lowest = fitting & -fitting
            free = length + lowest.bit_length() - 1
            candidates = rows_with[free]
            row = candidates.pop()
            if not candidates:
                spaces ^= lowest << length
        else:
            free, row = row_length, []
            rows.append(row)
        row.append(Segment(doc, start, length))
        left = free - length
        if left:
            candidates = rows_with[left]
            if not candidates:
                spaces |= 1 << left
            candidates.append(row)
