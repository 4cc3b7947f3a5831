"""Appended merges only join what the base gives: for any base, any text to learn from, any text to encode."""

from __future__ import annotations

import base64
import itertools
import tempfile
from pathlib import Path

import pytest
from counted_text import extended
from hypothesis import given, settings
from hypothesis import strategies as st

from seatools.streams.errors import SeaError
from seatools.text.tokenizer import load_tokenizer
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


def result_of(base, corpus, folder, **more):
    """The extended tokenizer and its new tokens, or None where the text gives none."""
    try:
        new, result = extended(base, {"th": corpus}, Path(folder), **more)
    except SeaError as error:
        assert "gives no new token" in error.what or "no new token can be reached" in error.what
        return None
    return new, {token.id: token for token in result.tokens}


def cuts(tokenizer, ids):
    """Where tokens end, in bytes of text."""
    return set(itertools.accumulate(len(tokenizer.piece_bytes(id)) for id in ids))


@settings(max_examples=60, deadline=None)
@given(base_merges(), CORPUS, CORPUS, st.booleans())
def test_every_extended_encoding_expands_to_the_base_encoding(byte_level, merges, corpus, unseen, partial):
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as out:
        base = load_tokenizer(byte_level(Path(folder), merges, ["<|end|>"]))
        if (found := result_of(base, corpus, out, partial_characters=partial)) is None:
            return
        new, tokens = found
        for text in unseen:
            assert expand(new.encode(text), tokens) == base.encode(text)
            assert new.decode(new.encode(text)) == base.decode(base.encode(text))


@settings(max_examples=40, deadline=None)
@given(base_merges(), CORPUS, CORPUS)
def test_protected_text_keeps_its_ids(byte_level, merges, corpus, protected):
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as out:
        base = load_tokenizer(byte_level(Path(folder), merges))
        if (found := result_of(base, corpus, out, protect={"en": protected})) is None:
            return
        for text in protected:
            assert found[0].encode(text) == base.encode(text)


@settings(max_examples=40, deadline=None)
@given(base_merges(), CORPUS, CORPUS)
def test_with_ignore_merges_too(byte_level_json, merges, corpus, unseen):
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as out:
        base = load_tokenizer(byte_level_json(Path(folder), merges, ignore_merges=True))
        if (found := result_of(base, corpus, out)) is None:
            return
        new, tokens = found
        for text in unseen:
            assert expand(new.encode(text), tokens) == base.encode(text)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(["▁a", "ab", "กา", "bab", "▁ก", "aก"]), unique=True),
    CORPUS,
    CORPUS,
    st.sampled_from(["continue", "merge"]),
)
def test_sentencepiece_cuts_where_the_base_cuts_and_agrees_with_tokenizers(
    sentencepiece_model, pieces, corpus, unseen, method
):
    letters = ["▁", "a", "b", "ก"]
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as out:
        base = load_tokenizer(sentencepiece_model(Path(folder), [*pieces, *letters], beside=True, runs=["▁▁"]))
        if (found := result_of(base, corpus, out, method=method)) is None:
            return
        new, _ = found
        for text in unseen:
            old_ids, new_ids = base.encode(text), new.encode(text)
            assert new.decode(new_ids) == base.decode(old_ids) == text
            assert cuts(new, new_ids) <= cuts(base, old_ids)
            if old_ids == base.beside.encode(text):
                assert new_ids == new.beside.encode(text)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=10), CORPUS, CORPUS, CORPUS)
def test_tiktoken_cuts_where_the_base_cuts(pairs, corpus, protected, unseen):
    ranks = [bytes([byte]) for byte in range(256)]
    for left, right in pairs:
        pool = BYTES + ranks[256:]
        piece = pool[left % len(pool)] + pool[right % len(pool)]
        if piece not in ranks:
            ranks.append(piece)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as out:
        file = Path(folder) / "tiny.tiktoken"
        file.write_bytes(b"".join(base64.b64encode(piece) + b" %d\n" % rank for rank, piece in enumerate(ranks)))
        pattern = r"\s?\S+|\s+"
        base = load_tokenizer(file, pattern=pattern)
        found = result_of(base, corpus, out, protect={"en": protected}, pattern=pattern)
        if found is None:
            return
        for text in unseen:
            assert cuts(found[0], found[0].encode(text)) <= cuts(base, base.encode(text))
        for text in protected:
            assert found[0].encode(text) == base.encode(text)


@settings(max_examples=30, deadline=None)
@given(base_merges(), CORPUS, CORPUS)
def test_new_tokens_on_reused_ids_expand_too(byte_level_json, merges, corpus, unseen):
    merges = [*merges, (b"x", b"y"), (b"xy", b"z")]
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as out:
        base = load_tokenizer(byte_level_json(Path(folder), merges))
        if (found := result_of(base, corpus, out, reuse_unreachable=True)) is None:
            return
        new, tokens = found
        for text in unseen:
            assert expand(new.encode(text), tokens) == base.encode(text)


@pytest.mark.parametrize("method", ["continue", "merge", "donor"])
def test_every_method_gives_tokens_that_running_text_reaches(byte_level, shared, tmp_path, method):
    base = load_tokenizer(byte_level(tmp_path / "base", []))
    lines = (shared / "data/ntrex/tha.txt").read_text(encoding="utf-8").splitlines()
    donor = {"donor": str(shared / "tokenizers/o200k-tiktoken")} if method == "donor" else {}
    new, result = extended(base, {"th": lines[:200]}, tmp_path, add=400, method=method, min_count=2, **donor)
    emitted = {id for line in lines[:200] for id in new.encode(line)}
    unused = [token for token in result.tokens if token.id not in emitted]
    parents = {id for token in result.tokens for id in token.parents or ()}
    assert len(result.tokens) == 400 and all(token.id in parents for token in unused)
