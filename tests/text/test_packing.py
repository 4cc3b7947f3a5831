"""Best-fit-decreasing packing: nothing lost, nothing doubled, nothing cut that fits, the same everywhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatools.streams.errors import UsageError
from seatools.text.packing import pack, pack_arrays

documents = st.lists(st.integers(0, 70), max_size=60)
row_lengths = st.integers(1, 32)
windows = st.integers(1, 25)
seeds = st.integers(0, 2**32)


@given(documents, row_lengths, windows, seeds)
def test_every_token_is_in_exactly_one_segment(lengths, row_length, window, seed):
    segments = [segment for row in pack(lengths, row_length, window=window, seed=seed) for segment in row]
    tokens = [(segment.doc, segment.start + i) for segment in segments for i in range(segment.length)]
    assert sorted(tokens) == [(doc, i) for doc, length in enumerate(lengths) for i in range(length)]


@given(documents, row_lengths, windows)
def test_no_row_is_empty_or_longer_than_the_row_length(lengths, row_length, window):
    for row in pack(lengths, row_length, window=window):
        assert 0 < sum(segment.length for segment in row) <= row_length
        assert all(segment.length > 0 for segment in row)


@given(documents, row_lengths, windows)
def test_only_documents_longer_than_a_row_are_cut_and_then_into_full_rows(lengths, row_length, window):
    num_segments = np.zeros(len(lengths), int)
    for row in pack(lengths, row_length, window=window):
        for segment in row:
            num_segments[segment.doc] += 1
            assert segment.start % row_length == 0
    assert num_segments.tolist() == [-(-length // row_length) for length in lengths]


def naive_best_fit_decreasing(lengths: list[int], row_length: int) -> list[list[int]]:
    rows: list[list[int]] = []
    for length in sorted(filter(None, lengths), reverse=True):
        spaces = [(row_length - sum(row), row) for row in rows if row_length - sum(row) >= length]
        if spaces:
            min(spaces, key=lambda space: space[0])[1].append(length)
        else:
            rows.append([length])
    return rows


@given(st.lists(st.integers(0, 32), max_size=60))
def test_one_window_is_the_textbook_algorithm(lengths):
    # Which of two rows with the same space is taken is free; how full the rows become is not.
    fills = [sum(segment.length for segment in row) for row in pack(lengths, 32)]
    assert sorted(fills) == sorted(map(sum, naive_best_fit_decreasing(lengths, 32)))


@given(documents, row_lengths, windows, seeds)
def test_the_seed_changes_the_order_of_the_rows_and_nothing_else(lengths, row_length, window, seed):
    rows = pack(lengths, row_length, window=window, seed=seed)
    assert rows == pack(np.array(lengths, np.uint32), row_length, window=window, seed=seed)
    assert sorted(rows) == sorted(pack(lengths, row_length, window=window, seed=seed + 1))


def test_the_order_of_the_rows_is_the_recorded_one():
    # Recorded once: a change here would change every packed file.
    assert [row[0].doc for row in pack([4] * 10, 4, seed=0)] == [3, 2, 1, 8, 6, 0, 7, 4, 5, 9]
    assert [row[0].doc for row in pack([4] * 10, 4, seed=1)] == [9, 2, 4, 7, 5, 0, 8, 6, 3, 1]


@given(documents, row_lengths, windows, seeds)
def test_the_arrays_are_the_same_rows(lengths, row_length, window, seed):
    options = {"window": window, "seed": seed}
    rows = pack_arrays(lengths, row_length, **options)
    segments = list(zip(rows.doc.tolist(), rows.start.tolist(), rows.length.tolist(), strict=True))
    bounds = zip(rows.offsets[:-1].tolist(), rows.offsets[1:].tolist(), strict=True)
    assert [segments[first:end] for first, end in bounds] == pack(lengths, row_length, **options)


def sequential_best_fit_decreasing(lengths: list[int], row_length: int) -> list[list[int]]:
    """Documents one by one; of rows with the same space the one that came to it last."""
    rows: list[list[int]] = []
    last_change: list[int] = []
    for turn, doc in enumerate(sorted((i for i, n in enumerate(lengths) if n), key=lambda i: -lengths[i])):
        spaces = [row_length - sum(lengths[i] for i in row) for row in rows]
        fitting = [r for r, space in enumerate(spaces) if space >= lengths[doc]]
        if fitting:
            best = min(fitting, key=lambda r: (spaces[r], -last_change[r]))
        else:
            best = len(rows)
            rows.append([])
            last_change.append(0)
        rows[best].append(doc)
        last_change[best] = turn
    return rows


@given(st.lists(st.integers(0, 300) | st.sampled_from([20, 25, 50, 100]), max_size=60))
def test_placing_equal_lengths_together_changes_nothing(lengths):
    found = [[segment.doc for segment in row] for row in pack(lengths, 300)]
    assert sorted(found) == sorted(sequential_best_fit_decreasing(lengths, 300))


def test_windows_do_not_share_rows():
    rows = pack([3, 3, 1, 1], 4, window=2)
    assert sorted(sorted(segment.doc for segment in row) for row in rows) == [[0], [1], [2, 3]]


def test_the_lengths_given_are_not_changed():
    lengths = np.array([10, 3], np.int64)
    pack(lengths, 4)
    assert lengths.tolist() == [10, 3]


@pytest.mark.parametrize(
    ("lengths", "row_length", "options"),
    [([1], 0, {}), ([1], 4, {"window": 0}), ([-1], 4, {})],
)
def test_senseless_options_are_refused(lengths, row_length, options):
    with pytest.raises(UsageError):
        pack(lengths, row_length, **options)


def test_a_log_normal_corpus_fills_the_rows():
    sizes = np.random.Generator(np.random.PCG64(0)).lognormal(5.7, 1.2, 20_000).astype(int) + 1
    rows = pack(sizes, 4096)
    assert sizes.sum() / (len(rows) * 4096) > 0.99
