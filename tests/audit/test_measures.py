"""Measures against values counted by hand, and against plain loops over the same text."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from seatools.audit.measures import MEASURES, Rates, TextCounts, TokenCounts, measure, renyi_efficiency
from seatools.audit.segmenters import Segmenter
from seatools.audit.token_batch import Encoded
from seatools.text.piece_table import PieceTable
from seatools.text.text_batch import TextBatch
from seatools.text.tokenizer import load_tokenizer


def counted(tokenizer, *batches, segmenter=None):
    text, tokens = TextCounts(segmenter), TokenCounts(PieceTable(tokenizer))
    for texts in batches:
        batch = TextBatch(texts)
        spans = text.add(batch)
        tokens.add(batch, Encoded.of(tokenizer.encode_batch(texts)), spans)
    return text, tokens


def values(text, tokens, **more):
    return {metric: value.value for metric, value in measure(text, tokens, **more).items()}


def test_values_counted_by_hand(tokenizer):
    # "the thé": the, space, th, two bytes of é: 5 tokens, 8 bytes, 7 characters, 2 words, the first whole.
    found = values(*counted(load_tokenizer(tokenizer), ["the thé"]))
    renyi = math.log2(5 * 0.2**2.5) / -1.5 / math.log2(5)
    assert found.pop("renyi_efficiency") == pytest.approx(renyi)
    assert found == {
        "docs": 1,
        "bytes": 8,
        "tokens": 5,
        "bytes_per_token": 8 / 5,
        "tokens_per_character": 5 / 7,
        "tokens_per_cluster": 5 / 7,
        "fertility": 5 / 2,
        "continued_word_rate": 2 / 5,  # the bytes of é
        "single_token_words": 1 / 2,
        "unk_rate": 0,
        "byte_fallback_rate": 0,
        "incomplete_rate": 2 / 5,
        "round_trip_failures": 0,
    }


def test_no_measure_of_words_where_they_are_not_spaced(tokenizer):
    found = values(*counted(load_tokenizer(tokenizer), ["สวัสดี ครับ"]), rates=Rates(context=10))
    assert not {"fertility", "continued_word_rate", "single_token_words", "context_words"} & set(found)


def test_parity_is_the_ratio_of_sums(tokenizer):
    loaded = load_tokenizer(tokenizer)
    text, tokens = counted(loaded, ["ab", "abcd"])
    _, reference = counted(loaded, ["the", "the"])
    assert values(text, tokens, reference=reference)["parity"] == 3.0


def test_clusters_are_those_of_regex(tokenizer):
    text = "น้ำกำลัง 👨‍👩‍👧🇹🇭 e\u0301 ក្ក"
    found = values(*counted(load_tokenizer(tokenizer), [text]))
    assert found["tokens"] / found["tokens_per_cluster"] == pytest.approx(len(regex.findall(r"\X", text)))


def test_context_and_price(tokenizer):
    counts = counted(load_tokenizer(tokenizer), ["the the the", "the"])  # 6 tokens, 14 characters, 4 words
    found = values(*counts, rates=Rates(context=12, price=0.5))
    assert found["context_share"] == 3 / 12
    assert found["context_characters"] == 12 * 14 / 6 and found["context_words"] == 12 * 4 / 6
    assert found["price"] == 0.5 * 6 / 1e6 and found["price_per_million_characters"] == pytest.approx(0.5 * 6 / 14)


def test_a_segmenters_words_have_columns_of_their_own(tokenizer):
    segmenter = Segmenter("by hand", "segmented_word", lambda text: ["ก", "the", " ", ",", "x"])
    found = values(*counted(load_tokenizer(tokenizer), ["กthe ,x"], segmenter=segmenter))
    assert found["tokens_per_segmented_word"] == 7 / 3  # three bytes of ก, the, space, comma, x
    assert found["single_token_segmented_words"] == 2 / 3


def test_counts_add_up_over_batches(tokenizer):
    loaded = load_tokenizer(tokenizer)
    apart, together = counted(loaded, ["the", "ab c"], ["é x"]), counted(loaded, ["the", "ab c", "é x"])
    assert measure(*apart) == measure(*together)


def test_the_order_is_that_of_the_table(tokenizer):
    pytest.importorskip("pycld2", reason="needs the extra: pip install 'sea-adapt[lid]'")
    text, tokens = counted(load_tokenizer(tokenizer), ["the a"])
    text.identify(["the a"], "en")
    tokens.num_changed.add(np.array([0]))
    found = list(measure(text, tokens, reference=tokens, first=tokens, rates=Rates(context=9, price=1)))
    assert found == [metric for metric in MEASURES if "segmented" not in metric and "syllable" not in metric]


def test_documents_that_are_not_nfc_are_counted(tokenizer):
    text, _ = counted(load_tokenizer(tokenizer), ["e\u0301", "é"])
    assert text.num_not_nfc == 1


@pytest.mark.parametrize(
    ("name", "text", "metric", "value"),
    [
        ("mistral-v1-spm", "ກ", "byte_fallback_rate", 3 / 4),  # ▁ and three bytes
        ("myanmar-spm-bpe-10k", "ꨀ", "unk_rate", 1 / 2),  # ▁ and UNK
        ("myanmar-spm-bpe-10k", "ꨀ", "round_trip_failures", 1),
        ("qwen2", "e\u0301", "round_trip_failures", 1),  # its NFC normaliser
        ("qwen2", "ກ", "incomplete_rate", 0),
        ("gpt2-tiktoken", "ກ", "incomplete_rate", 1),
    ],
)
def test_what_real_tokenizers_cannot_spell(shared, name, text, metric, value):
    assert values(*counted(load_tokenizer(shared / "tokenizers" / name), [text]))[metric] == value


@given(st.lists(st.integers(0, 9), min_size=2, max_size=300))
def test_renyi_efficiency_is_that_of_tokenization_scorer(ids):
    found = renyi_efficiency(np.bincount(ids, minlength=20))
    # tokenization_scorer.metrics._renyi_efficiency, power 2.5
    frequencies = [frequency for _, frequency in Counter(ids).most_common()]
    if len(frequencies) < 2:
        assert found is None
        return
    probabilities = [frequency / sum(frequencies) for frequency in frequencies]
    scale = 1 / (1 - 2.5)
    wanted = scale * np.log2(np.sum(np.array(probabilities) ** 2.5)) / np.log2(len(frequencies))
    assert found == pytest.approx(wanted)


def by_loops(tokenizer, texts):
    """(round-trip failures, whole words, words, continuing tokens, tokens) of documents whose pieces are their text."""
    failures = whole = words = continuing = tokens = 0
    for text in texts:
        ids = tokenizer.encode(text)
        failures += tokenizer.decode(ids) != text
        pieces = [tokenizer.piece_bytes(id) for id in ids]
        joined = b"".join(pieces)
        data = text.encode()
        if joined not in (data, b" " + data):
            continue
        place = len(data) - len(joined)
        begins, ends = [], []
        for piece in pieces:
            begins.append(place)
            place += len(piece)
            ends.append(place)
        spans = []
        for match in regex.finditer(r"\S+", text):  # white space of `regex` is that of str.split but for U+001C-1F
            spans.append((len(text[: match.start()].encode()), len(text[: match.end()].encode())))
        words += len(spans)
        tokens += len(pieces)
        for number, (begin, end) in enumerate(spans):
            before = spans[number - 1][1] if number else -1
            after = spans[number + 1][0] if number + 1 < len(spans) else len(data)
            whole += any(before <= b <= begin and end <= e <= after for b, e in zip(begins, ends, strict=True))
        continuing += sum(any(begin < b < end for begin, end in spans) for b in begins)
    return failures, whole, words, continuing, tokens


TEXTS = [
    "the the",
    " lead",
    "trail  ",
    "a  b",
    "naïve café",
    "한국 말",
    "one\ntwo",
    "the end, again",
    "Việt Nam",
    "\u00a0x",
]


@pytest.mark.parametrize(
    "name",
    ["mistral-v1-spm", "mistral-v3-spm", "qwen2", "gpt2-tiktoken", "openllama", "focus-cebuano-bpe-50k", "gptj-base",
     "t5-v1_1-spm-unigram", "gpt-neox-20b"],
)  # fmt: skip
def test_arrays_say_what_loops_say(shared, name):
    tokenizer = load_tokenizer(shared / "tokenizers" / name)
    lines = (shared / "data" / "ntrex" / "vie.txt").read_text(encoding="utf-8").split("\n")[:40]
    texts = [*TEXTS, *(line for line in lines if line)]
    _, tokens = counted(tokenizer, texts)
    failures, whole, words, continuing, number = by_loops(tokenizer, texts)
    assert tokens.num_failures == failures
    assert tokens.shares["single_token_words"] == (whole, words)
    assert tokens.shares["continued_word_rate"] == (continuing, number)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text("the ab\néก\u3000", min_size=1, max_size=12), min_size=1, max_size=6))
def test_arrays_say_what_loops_say_of_any_text(tiny, texts):
    _, tokens = counted(tiny, ["a " * 50, *texts])  # the first makes it a language with spaces
    failures, whole, words, continuing, number = by_loops(tiny, ["a " * 50, *texts])
    assert tokens.num_failures == failures == 0
    assert tokens.shares["single_token_words"] == (whole, words)
    assert tokens.shares["continued_word_rate"] == (continuing, number)
