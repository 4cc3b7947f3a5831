"""Strings of a JSON line replaced, and nothing else."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatools.text.cleaning.json_strings import with_strings


def test_all_other_bytes_stay():
    raw = b'{ "a" : 1.50,"m":[ {"role":"user" , "content":"\\u0061"},{"content":"b"}], "text":"t" ,"e":"\\/" }'
    new = with_strings(raw, {("m", 1, "content"): "é", ("text",): '"\n'})
    assert new.decode() == raw.decode().replace('"b"', '"é"').replace('"t"', '"\\"\\n"')


def test_of_a_key_that_is_there_twice_the_last_counts():
    assert with_strings(b'{"text":"a","text":"b"}', {("text",): "c"}) == b'{"text":"a","text":"c"}'


def test_same_name_deeper_is_not_meant():
    assert with_strings(b'{"meta":{"text":"a"},"text":"a"}', {("text",): "c"}) == b'{"meta":{"text":"a"},"text":"c"}'


def test_a_path_that_is_not_there():
    with pytest.raises(KeyError):
        with_strings(b'{"a":"b"}', {("text",): "c"})


@pytest.mark.parametrize("depth", [1000, 1022])
def test_what_is_deeply_nested_stays_as_it_is(depth):
    """As deep as orjson reads; the scanner of the standard library recurses."""
    deep = b"[" * depth + b'"]\\"}", {"a":"["}' + b"]" * depth
    raw = b'{"deep":' + deep + b',"text":"old","e":1}'
    assert orjson.loads(with_strings(raw, {("text",): "new"}))["text"] == "new"
    assert with_strings(raw, {("text",): "new"}) == raw.replace(b"old", b"new")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=3), _JSON, max_size=3), st.text(max_size=5), st.text(max_size=5), st.booleans())
def test_reads_back_as_the_object_with_the_new_text(value, old, new, spaced):
    value = {**value, "text": old}
    raw = json.dumps(value, indent=1 if spaced else None, ensure_ascii=spaced).encode("utf-8", "replace")
    assert orjson.loads(with_strings(raw, {("text",): new})) == {**orjson.loads(raw), "text": new}
