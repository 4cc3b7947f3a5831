"""Measures against values counted by hand."""

from __future__ import annotations

import pytest

from seatools.audit.measures import MEASURES, TextCounts, TokenCounts, measure
from seatools.text.tokenizer import load_tokenizer


def counted(tokenizer, texts):
    text, tokens = TextCounts(), TokenCounts()
    text.add(texts)
    tokens.add(texts, tokenizer, 1)
    return text, tokens


def test_values_counted_by_hand(tokenizer):
    # "the thé": the, space, th, two bytes of é: 5 tokens, 8 bytes, 7 characters, 2 words.
    text, tokens = counted(load_tokenizer(tokenizer), ["the thé"])
    assert measure(text, tokens, None) == {
        "docs": 1,
        "bytes": 8,
        "tokens": 5,
        "bytes_per_token": 8 / 5,
        "tokens_per_character": 5 / 7,
        "fertility": 5 / 2,
        "unk_rate": 0,
        "byte_fallback_rate": 0,
        "round_trip_failures": 0,
    }


def test_no_fertility_where_words_are_not_spaced(tokenizer):
    text, tokens = counted(load_tokenizer(tokenizer), ["สวัสดี ครับ"])
    assert "fertility" not in measure(text, tokens, None)


def test_parity_is_the_ratio_of_sums(tokenizer):
    loaded = load_tokenizer(tokenizer)
    text, tokens = counted(loaded, ["ab", "abcd"])
    _, reference = counted(loaded, ["the", "the"])
    assert measure(text, tokens, reference)["parity"] == 3.0


def test_counts_add_up_over_batches(tokenizer):
    loaded = load_tokenizer(tokenizer)
    text, tokens = counted(loaded, ["the", "ก"])
    text.add(["é"])
    tokens.add(["é"], loaded, 1)
    assert (text, tokens) == counted(loaded, ["the", "ก", "é"])


def test_the_order_is_that_of_the_table(tokenizer):
    text, tokens = counted(load_tokenizer(tokenizer), ["the"])
    text.identify(["the"], "en")
    assert list(measure(text, tokens, tokens)) == list(MEASURES)


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
    ],
)
def test_what_real_tokenizers_cannot_spell(shared, name, text, metric, value):
    counts = counted(load_tokenizer(shared / "tokenizers" / name), [text])
    assert measure(*counts, None)[metric] == value
