"""Weighted sums of old rows, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from seatools.embed_init.combined_rows import PIECE_WEIGHTS, Combination, combined_rows, piece_combination
from seatools.streams.float_bits import to_float32

TABLE = np.array([[1, 2], [3, 6], [100, 100], [5, 1]], dtype=np.float32)


def _rows(method: str, pieces: list[list[int]]) -> list[list[float]]:
    combinations = [piece_combination(method, ids) if ids else None for ids in pieces]
    return combined_rows(TABLE, "F32", combinations, np.float32([7, 8])).tolist()


def test_subword_mean_averages_the_pieces_repeats_counted() -> None:
    expected = [[2, 4], [np.float32(11 / 3), np.float32(13 / 3)], [7, 8]]
    assert _rows("subword-mean", [[0, 1], [1, 1, 3], []]) == expected


@pytest.mark.parametrize(
    ("method", "weights"),
    [
        ("first-piece", (1, 0, 0)),
        ("last-piece", (0, 0, 1)),
        ("weighted-first", (3 / 6, 2 / 6, 1 / 6)),
        ("weighted-last", (1 / 6, 2 / 6, 3 / 6)),
    ],
)
def test_where_the_weight_lies(method: str, weights: tuple[float, ...]) -> None:
    expected = weights[0] * TABLE[0] + weights[1] * TABLE[1] + weights[2] * TABLE[3]
    assert np.allclose(_rows(method, [[0, 1, 3]])[0], expected, rtol=1e-7)


@pytest.mark.parametrize("method", PIECE_WEIGHTS)
def test_one_piece_is_copied_bit_for_bit(method: str) -> None:
    assert _rows(method, [[3]]) == [[5, 1]]


def test_a_piece_of_no_weight_is_not_read() -> None:
    """NaN in it would come through a product with zero."""
    table = TABLE.copy()
    table[1] = np.nan
    row = combined_rows(table, "F32", [piece_combination("first-piece", [0, 1])], np.zeros(2))
    assert row.tolist() == [[1, 2]]


def test_weights_that_do_not_sum_to_one_are_taken_as_they_are() -> None:
    row = combined_rows(TABLE, "F32", [Combination([0, 3], np.array([2.0, -1.0]))], np.zeros(2))
    assert row.tolist() == [[-3, 3]]


def test_bf16_rows_are_averaged_in_more_than_bf16() -> None:
    stored = np.array([[0x3F80], [0x3F81]], dtype=np.uint16)  # 1 and its upper neighbour, 1 + 2^-7
    row = combined_rows(stored, "BF16", [piece_combination("subword-mean", [0, 1])], np.zeros(1))
    assert row[0, 0] == 1 + 2**-8
    assert to_float32(stored, "BF16")[1, 0] == 1 + 2**-7
