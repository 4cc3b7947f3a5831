"""Appended merges only join what the base gives: for any base, any text to learn from, any text to encode."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from seatools.streams.errors import SeaError
from seatools.text.tokenizer import load_tokenizer
from seatools.vocab_extend.extension import ExtendOptions, extend
from seatools.vocab_extend.new_token import expand

ATOMS = ["a", "b", "กา", "ข", "é", " ", "  ", "1", "\n", "ab", "😀"]
TEXTS = st.lists(st.sampled_from(ATOMS), min_size=1, max_size=14).map("".join)
CORPUS = st.lists(TEXTS, min_size=1, max_size=5)
BYTES = sorted({bytes([byte]) for text in ATOMS for byte in text.encode()})


@st.composite
def base_merges(draw):
    """A well-founded merge list: each joins two tokens that exist."""
    tokens, merges = list(BYTES), []
    for _ in range(draw(st.integers(0, 8))):
        left, right = draw(st.sampled_from(tokens)), draw(st.sampled_from(tokens))
        if left + right not in tokens:
            tokens.append(left + right)
            merges.append((left, right))
    return merges


def extended(base, corpus, folder, protected=()):
    guarded = {"en": list(protected)} if protected else {}
    tokens, _ = extend(base, {"th": corpus}, guarded, ExtendOptions(add=12, min_count=1), Path(folder))
    return load_tokenizer(folder), {token.id: token for token in tokens}


@settings(max_examples=60, deadline=None)
@given(base_merges(), CORPUS, CORPUS)
def test_every_extended_encoding_expands_to_the_base_encoding(byte_level, merges, corpus, unseen):
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as out:
        base = load_tokenizer(byte_level(Path(folder), merges, ["<|end|>"]))
        try:
            new, tokens = extended(base, corpus, out)
        except SeaError as error:
            assert "gives no new token" in error.what
            return
        for text in unseen:
            assert expand(new.encode(text), tokens) == base.encode(text)
            assert new.decode(new.encode(text)) == base.decode(base.encode(text))


@settings(max_examples=40, deadline=None)
@given(base_merges(), CORPUS, CORPUS)
def test_protected_text_keeps_its_ids(byte_level, merges, corpus, protected):
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as out:
        base = load_tokenizer(byte_level(Path(folder), merges))
        try:
            new, _ = extended(base, corpus, out, protected)
        except SeaError as error:
            assert "gives no new token" in error.what
            return
        for text in protected:
            assert new.encode(text) == base.encode(text)


@settings(max_examples=40, deadline=None)
@given(base_merges(), CORPUS, CORPUS)
def test_with_ignore_merges_too(byte_level_json, merges, corpus, unseen):
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as out:
        base = load_tokenizer(byte_level_json(Path(folder), merges, ignore_merges=True))
        try:
            new, tokens = extended(base, corpus, out)
        except SeaError as error:
            assert "gives no new token" in error.what
            return
        for text in unseen:
            assert expand(new.encode(text), tokens) == base.encode(text)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["▁a", "ab", "กา", "bab", "▁ก", "aก"]), unique=True), CORPUS, CORPUS)
def test_sentencepiece_and_tokenizers_agree_and_decode_alike(sentencepiece_model, pieces, corpus, unseen):
    letters = ["▁", "a", "b", "ก"]
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as out:
        base = load_tokenizer(sentencepiece_model(Path(folder), [*pieces, *letters], beside=True, runs=["▁▁"]))
        try:
            new, _ = extended(base, corpus, out)
        except SeaError as error:
            assert "gives no new token" in error.what
            return
        for text in unseen:
            assert new.decode(new.encode(text)) == base.decode(base.encode(text)) == text
            if base.encode(text) == base.beside.encode(text):
                assert new.encode(text) == new.beside.encode(text)
