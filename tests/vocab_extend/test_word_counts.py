"""Counting: the base's own words, the same for any number of workers or shards, bounded where asked."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seatools.text.agreement import PROBES
from seatools.text.byte_alphabet import unspell
from seatools.text.pretokenizer_presets import PRESETS, QWEN2_PATTERN
from seatools.text.special_tokens import AddedToken
from seatools.text.tokenizer import load_tokenizer
from seatools.vocab_extend import word_counts
from seatools.vocab_extend.extension import open_base
from seatools.vocab_extend.word_counts import Splitter, WordCounts, count_words

SPACES = Splitter(pattern=r"\S+|\s+")


def test_words_and_documents_are_counted():
    found = count_words(["a b a", "b"], SPACES)
    assert found.counts == {"a": 2, "b": 2, " ": 2} and (found.num_docs, found.num_bytes) == (2, 6)


def test_by_document_a_word_knows_its_only_document():
    found = count_words(["a b a", "b", "c c"], SPACES, by_document=True, name="2:")
    assert found.docs == {"a": 1, "b": 2, "c": 1, " ": 2}
    assert found.only == {"a": "2:0", "c": "2:2"}


@given(st.lists(st.text("ab ", max_size=8), max_size=8), st.integers(1, 3))
def test_shards_add_up(texts, num):
    whole = count_words(texts, SPACES, by_document=True, name="0:")
    total = WordCounts()
    for shard in range(num):
        total.add(count_words(texts[shard::num], SPACES, by_document=True, name=f"{shard}:"))
    assert total.counts == whole.counts and total.docs == whole.docs
    assert (total.num_docs, total.num_bytes) == (whole.num_docs, whole.num_bytes)
    assert total.only.keys() == whole.only.keys()


def test_worker_processes_change_nothing(monkeypatch):
    rng = random.Random(1)
    texts = [" ".join(rng.choices(["กา", "ขา", "and", "the"], k=50)) for _ in range(400)]
    alone = count_words(texts, SPACES)
    monkeypatch.setattr(word_counts, "_POOL_FROM", 1000)
    monkeypatch.setattr(word_counts, "_BATCH", 2000)
    assert count_words(texts, SPACES, workers=2) == alone


def test_beyond_max_words_the_rarest_go_and_are_told():
    texts = ["common common"] * 50 + [f"word{number}" for number in range(1000)]
    found = count_words(texts, SPACES, max_words=100)
    assert found.counts["common"] == 100 and len(found.counts) <= 101
    assert found.dropped + found.counts.total() == count_words(texts, SPACES).counts.total()


@settings(max_examples=300)
@given(
    st.sampled_from([QWEN2_PATTERN, *(preset.pattern for preset in PRESETS.values())]),
    st.text("aกิ1.'s \t\n\r\u3000\xa0", max_size=12),
)
def test_cutting_before_spaces_first_changes_no_word(pattern, text):
    whole, first = (Splitter(pattern=pattern, by_spaces=by_spaces) for by_spaces in (False, True))
    assert first.compile()(text) == whole.compile()(text)
    assert count_words([text, text], first) == count_words([text, text], whole)


def test_no_word_crosses_an_added_token():
    added = (AddedToken(content="<a>", id=7, normalized=False), AddedToken(content="  ", id=8, normalized=True))
    splitter = Splitter(pattern=r" ?\S+|\s+", spells=True, added=added)
    assert splitter.compile()("x<a> y  zz <a>") == ["x", "<a>", " y", "  ", "zz", " ", "<a>"]
    assert count_words(["a  a a"], splitter).counts == {"a": 2, "ĠĠ": 1, "Ġa": 1}


def test_protected_words_are_never_dropped():
    found = count_words([f"word{number}" for number in range(200)], SPACES, by_document=True, max_words=10)
    assert len(found.counts) == 200


@pytest.mark.parametrize("name", ["qwen2", "gptj-base", "gpt-neox-20b", "focus-cebuano-bpe-50k", "cl100k-tiktoken"])
def test_the_words_are_the_engines_pre_tokens(shared, name):
    base = open_base(load_tokenizer(shared / "tokenizers" / name))
    splitter = base.splitter([])
    assert splitter.pattern is not None  # the fast way
    tokenizer = base.tokenizer
    for text in PROBES:
        if any(token.content in text for token in splitter.added):
            continue  # pre_tokenize_str knows of none; test_the_words_encode_to_what_the_text_does
        words = count_words([text], splitter).counts
        if hasattr(tokenizer, "ranks"):
            import tiktoken  # its own pieces, by its own (private) splitter

            assert isinstance(tokenizer.engine, tiktoken.Encoding)
            assert sum(len(unspell(word)) * count for word, count in words.items()) == len(text.encode())
        else:
            engine = tokenizer.engine
            normal = engine.normalizer.normalize_str(text) if engine.normalizer else text
            assert words == Counter(piece for piece, _ in engine.pre_tokenizer.pre_tokenize_str(normal))


@pytest.mark.parametrize(
    "name", ["mistral-v1-spm", "openllama", "qwen2", "o200k-tiktoken", "gptj-base", "gpt-neox-20b"]
)
def test_the_words_encode_to_what_the_text_does(shared, name):
    base = open_base(load_tokenizer(shared / "tokenizers" / name))
    lines = (shared / "data/flores200/dev/khm_Khmr.txt").read_text(encoding="utf-8").splitlines()[:40]
    for text in (*lines, *PROBES):
        words = count_words([text], base.splitter([])).counts
        ids = base.encode_words(list(words))
        found = Counter()
        for number, count in enumerate(words.values()):
            found.update({id: times * count for id, times in Counter(ids.word(number)).items()})
        assert found == Counter(base.tokenizer.encode(text)), text
