"""Flat words against lists of them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from seatools.vocab_extend.new_token import NewToken, expand
from seatools.vocab_extend.segments import BREAK, Expansion, Segments, known_char, unknown

WORDS = st.lists(st.lists(st.integers(0, 9), max_size=5).map(tuple), max_size=6)


@given(WORDS, WORDS)
def test_words_come_back_joined_or_not(one, two):
    both = Segments.joined([Segments.of(one), Segments.of(two)])
    assert [both.word(number) for number in range(len(both))] == [*one, *two]
    assert both.lengths.tolist() == [len(word) for word in (*one, *two)]
    assert both.owners().tolist() == [number for number, word in enumerate((*one, *two)) for _ in word]


@given(WORDS, st.integers(1, 3))
def test_every_other_word(words, step):
    chosen = Segments.of(words).every(step)
    assert [chosen.word(number) for number in range(len(chosen))] == words[::step]


@given(WORDS, st.dictionaries(st.integers(5, 9), st.lists(st.integers(0, 4), max_size=3).map(tuple)))
def test_expansion_is_that_of_lists(words, base_ids):
    tokens = {id: NewToken(id, "", b"", "merge", None, parts) for id, parts in base_ids.items()}
    flat = Segments.of(words)
    expanded = Expansion(base_ids).words(flat)
    assert [list(expanded.word(number)) for number in range(len(words))] == [expand(word, tokens) for word in words]
    assert Expansion(base_ids)(flat.ids).dtype == np.int32


def test_unknown_characters_are_no_breaks():
    assert unknown("\x00") != BREAK and known_char(unknown("ก")) == "ก"
