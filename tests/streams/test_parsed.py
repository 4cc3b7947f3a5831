"""Small files of JSON and TOML: a value, or a ValueError and nothing else."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatools.streams.parsed import parse_json, parse_toml

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(VALUES, st.booleans())
def test_json_is_what_the_standard_library_reads(value: object, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert parse_json(text) == parse_json(b"\xef\xbb\xbf" + text.encode()) == value


@pytest.mark.parametrize(
    "text",
    [b"[" * 100_000, b'{"a":' * 5000, b"9" * 5000, b"\xff", '["x"]'.encode("utf-16"), b'"\\ud800"', b'{"\\uDC00": 1}',
     b"", b"{", b"nul"],
)  # fmt: skip
def test_bad_json_is_a_value_error(text: bytes) -> None:
    with pytest.raises(ValueError):
        parse_json(text)


def test_pairs_of_surrogates_are_characters() -> None:
    assert parse_json(b'["\\ud83d\\ude00", "\\\\ud800"]') == ["\U0001f600", "\\ud800"]


def test_a_key_that_stands_twice_is_refused_where_that_is_asked() -> None:
    assert parse_json('{"a": 1, "a": 2}') == {"a": 2}
    with pytest.raises(ValueError, match="twice"):
        parse_json('[{"a": 1, "a": 2}]', unique=True)


@pytest.mark.parametrize("text", ["a = " + "[" * 5000, "a = " + "9" * 5000, "a = 1e" + "9" * 30, "a", "a = 1\na = 2"])
def test_bad_toml_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        parse_toml(text, Decimal)


def test_toml_is_what_the_standard_library_reads() -> None:
    assert parse_toml("a = 0.1\n[b]\nc = 'd'", Decimal) == {"a": Decimal("0.1"), "b": {"c": "d"}}
