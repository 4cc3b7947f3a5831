"""The greatest deviation of a share in any window, counted again window by window."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatools.mix import window_shares
from seatools.mix.window_shares import PARTS, WindowShares

STREAM = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 90)), max_size=200)
TARGETS = [0.5, 0.3, 0.2]


def by_hand(stream, window):
    """Windows from every multiple of window / PARTS on, of the documents that begin in them and none beyond the last
    stretch that another document follows."""
    stretch, begins, total = window // PARTS, [], 0
    for _, units in stream:
        begins.append(total)
        total += units
    greatest, found = [0.0] * 3, False
    for first in range(0, (begins[-1] // stretch if begins else 0) - PARTS + 1):
        sums = [0, 0, 0]
        for begin, (source, units) in zip(begins, stream, strict=True):
            if first <= begin // stretch < first + PARTS:
                sums[source] += units
        if sum(sums):
            found = True
            greatest = [
                max(most, abs(part / sum(sums) - target))
                for most, part, target in zip(greatest, sums, TARGETS, strict=True)
            ]
    return greatest if found else None


@given(STREAM, st.integers(1, 50), st.integers(1, 30))
def test_every_window_counts(stream, chunk, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(window_shares, "_BLOCK", block)
        shares = WindowShares(TARGETS, window=20 * PARTS)
        for start in range(0, len(stream), chunk):
            part = stream[start : start + chunk]
            sources = np.array([source for source, _ in part], dtype=np.uint16)
            shares.add(sources, np.array([units for _, units in part], dtype=np.int64))
    expected = by_hand(stream, 20 * PARTS)
    assert shares.greatest() == (None if expected is None else pytest.approx(expected))


def test_a_mix_that_is_no_window_long_has_none():
    shares = WindowShares([1.0])
    shares.add(np.zeros(999, np.uint16), np.full(999, 1000))
    assert shares.greatest() is None
