"""Values of a JSON line are skipped whatever they hold."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatools.streams.json_values import end_of_value
from seatools.streams.records import with_keys

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text('"\\\\[]{},:ก\n', max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('"\\\\[]{}', max_size=3), inner, max_size=3),
    max_leaves=10,
)


@given(_JSON, st.sampled_from(["", " ", "]", "}", ',"x":[1]}']), st.booleans())
def test_the_end_is_where_the_scanner_of_the_standard_library_ends(value: object, after: str, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert end_of_value(f"[{text}{after}", 1) == 1 + len(text)


def test_depth_does_not_matter() -> None:
    text = "[" * 100_000 + "]" * 100_000
    assert end_of_value(text, 0) == len(text)


def test_a_value_that_does_not_end() -> None:
    with pytest.raises(ValueError, match="does not end"):
        end_of_value('{"a":[1', 0)


def test_a_key_of_a_deeply_nested_record_is_replaced() -> None:
    deep = b"[" * 1000 + b"]" * 1000
    assert with_keys(b'{"k":1,"deep":' + deep + b"}", {"k": 2}) == b'{"deep":' + deep + b',"k":2}'
