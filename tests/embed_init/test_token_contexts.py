"""Contexts of new tokens: the two readings and which positions they pair."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from seatools.embed_init.token_contexts import CONTEXT, NEW, find_contexts

# Old ids 0 to 9 keep their ids; 10 is old 3 4, 11 is old 5, 12 has no pieces.
SPELLED = {id: [id] for id in range(10)} | {10: [3, 4], 11: [5]}


def _one(document: list[int], id: int, bos: int | None = None) -> list[tuple[list[int], list[int], list[int]]]:
    found = find_contexts([np.array(document)], SPELLED, [id], bos, 100, seed=0)
    return sorted((c.pieces.tolist(), c.merged.tolist(), c.paired.tolist()) for c in found.get(id, []))


def test_a_token_between_others() -> None:
    assert _one([1, 10, 2], 10) == [([1, 3, 4, 2], [1, NEW, 2], [0, 2, 3])]


def test_other_new_tokens_are_read_in_pieces_both_times() -> None:
    assert _one([11, 10, 11], 10) == [([5, 3, 4, 5], [5, NEW, 5], [0, 2, 3])]


def test_every_occurrence_in_a_context_is_the_token() -> None:
    assert _one([10, 1, 10], 10) == [([3, 4, 1, 3, 4], [NEW, 1, NEW], [1, 2, 4])] * 2


def test_bos_stands_before_every_context() -> None:
    assert _one([1, 10], 10, bos=7) == [([7, 1, 3, 4], [7, 1, NEW], [0, 1, 3])]


def test_a_context_ends_at_a_token_without_pieces() -> None:
    assert _one([1, 12, 2, 10, 12], 10) == [([2, 3, 4], [2, NEW], [0, 2])]


def test_what_is_not_there_has_no_contexts() -> None:
    assert find_contexts([np.array([1, 2])], SPELLED, [10, 12], None, 5, 0) == {}


def test_no_more_than_wanted_and_by_seed() -> None:
    document = np.array([10, *([1, 2, 3] * 30)] * 20)
    first, again, other = (find_contexts([document], SPELLED, [10, 11], None, 6, seed)[10] for seed in (1, 1, 2))
    assert len(first) == 6
    assert all(np.array_equal(a.pieces, b.pieces) for a, b in zip(first, again, strict=True))
    varied = [np.array(range(10)) for _ in range(9)] + [np.array([id, 10]) for id in range(9)]
    picks = [find_contexts(varied, SPELLED, [10], None, 3, seed)[10] for seed in (1, 2)]
    assert [c.pieces.tolist() for c in picks[0]] != [c.pieces.tolist() for c in picks[1]]
    assert other is not None


@given(st.lists(st.integers(0, 12), max_size=150))
def test_both_readings_are_the_same_text(document: list[int]) -> None:
    for id in (10, 11):
        for context in find_contexts([np.array(document, dtype=np.uint32)], SPELLED, [id], None, 20, 0).get(id, []):
            assert NEW in context.merged and len(context.pieces) <= CONTEXT
            spelled = [old for other in context.merged for old in (SPELLED[id] if other == NEW else [other])]
            assert spelled == context.pieces.tolist()
            # The paired position ends what stands at the merged one.
            ends = np.cumsum([len(SPELLED[id]) if other == NEW else 1 for other in context.merged]) - 1
            assert context.paired.tolist() == ends.tolist()
