"""Arrays of characters against `regex` and the standard library."""

from __future__ import annotations

import numpy as np
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from seatools.text.graphemes import Characters

# Every kind of character that clusters depend on: Thai, Lao, Khmer, Burmese, Devanagari and Hangul letters and marks,
# linkers, joiners, line ends, flags, emoji with modifiers, prepended marks.
LEADING = "aกำ้ນຳកា្ំကာ်္ေकष़्ि각각가\u200d\u200c\r\n\t \u0300\U0001f1f9\U0001f1ed👨👩🏽❤️\u0600\u0d4e\u1cf5𑨺🏴"


def begins(text: str) -> list[int]:
    return np.flatnonzero(Characters(text).begins_cluster()).tolist()


@settings(max_examples=500, deadline=None)
@given(st.text(LEADING, max_size=12))
def test_clusters_are_those_of_regex(text):
    assert begins(text) == [match.start() for match in regex.finditer(r"\X", text)]


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=12))
def test_any_text(text):
    characters = Characters(text)
    assert begins(text) == [match.start() for match in regex.finditer(r"\X", text)]
    assert characters.num_bytes.tolist() == [len(char.encode()) for char in text]
    assert characters.is_space.tolist() == [char.isspace() for char in text]


@pytest.mark.parametrize("name", ["tha", "lao", "khm", "mya", "vie", "hin", "jpn", "arb", "tam"])
def test_clusters_of_real_text(shared, name):
    text = (shared / "data" / "ntrex" / f"{name}.txt").read_text(encoding="utf-8")[:30_000]
    assert begins(text) == [match.start() for match in regex.finditer(r"\X", text)]


def test_separators_are_white_space_and_break_on_both_sides():
    characters = Characters("a\0\u0300", np.array([1]))
    assert characters.begins_cluster().tolist() == [True, True, True]
    assert characters.is_space.tolist() == [False, True, False]


def test_a_lone_surrogate_is_an_error():
    with pytest.raises(UnicodeEncodeError):
        Characters("a\ud800")
