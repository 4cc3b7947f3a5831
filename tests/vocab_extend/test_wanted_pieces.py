"""Counting and choosing wanted pieces, against plain versions of both."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from seatools.vocab_extend.wanted_pieces import Aligned, aligned, choose, prune, steps

WORDS = st.dictionaries(
    st.lists(st.sampled_from(["a", "b", "ab", "ba"]), min_size=1, max_size=8).map(tuple), st.integers(1, 3), max_size=5
)


@settings(max_examples=300, deadline=None)
@given(WORDS, st.sets(st.text("ab", min_size=2, max_size=6), max_size=15))
def test_aligned_finds_every_piece_and_uses_the_longest_from_the_left(words, wanted):
    found, used = {}, Counter()
    for word, count in words.items():
        spans = {
            (start, end): "".join(word[start:end])
            for start in range(len(word))
            for end in range(start + 2, len(word) + 1)
            if "".join(word[start:end]) in wanted
        }
        for (start, end), piece in spans.items():
            found.setdefault(piece, set()).add(word[start:end])
        at = 0
        while at < len(word):
            end = max((end for start, end in spans if start == at), default=None)
            if end is not None:
                used[spans[at, end]] += count
            at = end or at + 1
    result = aligned(words, wanted)
    assert result.keys() == found.keys()
    for piece, (count, parts) in result.items():
        assert count == used[piece]
        assert parts in found[piece]


def test_a_piece_that_cuts_a_token_of_the_base_is_of_no_use():
    assert aligned({("ab", "c"): 5, ("a", "bc", "d"): 2}, {"bc", "bcd"}) == {"bcd": Aligned(2, ("bc", "d"))}


def test_a_piece_inside_longer_ones_only_is_found_but_not_used():
    assert aligned({("a", "b", "c"): 5}, {"ab", "abc"}) == {
        "ab": Aligned(0, ("a", "b")),
        "abc": Aligned(5, ("a", "b", "c")),
    }


CHAIN = {"ab": ("a", "b"), "abc": ("ab", "c"), "abcd": ("abc", "d"), "xy": ("x", "y"), "abxy": ("ab", "xy")}


def test_steps_are_the_new_pieces_of_the_tree():
    assert steps("abcd", CHAIN) == {"ab", "abc", "abcd"}
    assert steps("a", CHAIN) == set()


def test_pruning_a_step_never_strands_a_longer_piece():
    # Trap 5: "ab" and "abc" are rare by themselves.
    assert prune({"ab": 0, "abc": 1, "abcd": 9, "xy": 2}, CHAIN, 3) == {"ab", "abc", "abcd"}


def test_a_piece_pays_for_its_steps():
    # abcd scores most but costs three tokens; xy is worth more than a third of it.
    scores = {"abcd": 9.0, "xy": 4.0}
    assert choose(scores, CHAIN, 1) == {"xy"}
    assert choose(scores, CHAIN, 3) == {"xy"}  # what is left is no longer enough for abcd
    assert choose(scores, CHAIN, 4) == {"xy", "ab", "abc", "abcd"}


def test_a_step_that_is_there_already_costs_nothing():
    scores = {"abxy": 5.0, "xy": 4.0, "ab": 2.0, "abcd": 7.0}
    # xy, then abxy with ab ((5 + 2) / 2) before abcd ((7 + 2) / 3), which comes with abc for 7 / 2 when ab is there.
    assert choose(scores, CHAIN, 1) == {"xy"}
    assert choose(scores, CHAIN, 3) == {"xy", "ab", "abxy"}
    assert choose(scores, CHAIN, 5) == {"xy", "ab", "abxy", "abc", "abcd"}


@st.composite
def trees(draw):
    pieces, parents = list("abc"), {}
    for _ in range(draw(st.integers(1, 12))):
        pair = draw(st.sampled_from(pieces)), draw(st.sampled_from(pieces))
        piece = "".join(pair)
        if piece not in pieces and len(piece) < 12:
            parents[piece] = pair
            pieces.append(piece)
    return parents


@settings(max_examples=300, deadline=None)
@given(trees(), st.data(), st.integers(0, 14))
def test_what_is_chosen_fits_and_can_be_made(parents, data, budget):
    pieces = sorted(parents)
    scores = {piece: data.draw(st.integers(0, 9)) for piece in pieces}
    chosen = choose(scores, parents, budget)
    assert len(chosen) <= budget
    for piece in chosen:
        assert steps(piece, parents) <= chosen
        assert any(scores[other] and piece in steps(other, parents) for other in chosen)  # nothing for nothing
    for piece in pieces:  # and nothing that still fits is left
        if scores[piece] and piece not in chosen:
            assert len(steps(piece, parents) - chosen) > budget - len(chosen)
    assert choose(scores, parents, len(parents)) == prune(scores, parents, 1)
