"""What a vocabulary holds, without text."""

from __future__ import annotations

from seatools.audit.vocabulary import summarise
from seatools.text.tokenizer import load_tokenizer


def test_a_byte_level_vocabulary(tokenizer):
    values, scripts = summarise(load_tokenizer(tokenizer))
    assert values == {
        "vocab_size": 259,
        "special_tokens": 1,
        "byte_tokens": 128,
        "incomplete_tokens": 0,
        "unused_ids": 0,
    }
    assert scripts == {"Latin": 54}  # 26 letters twice, "th", "the"


def test_mistral_has_256_byte_pieces_and_few_thai_ones(shared):
    values, scripts = summarise(load_tokenizer(shared / "tokenizers" / "mistral-v1-spm"))
    assert (values["vocab_size"], values["byte_tokens"], values["special_tokens"]) == (32000, 256, 3)
    assert list(scripts)[0] == "Latin" and scripts["Thai"] < 60
