"""Bytes of tokens: over the ids of any text they add up to its UTF-8 bytes."""

from __future__ import annotations

import pytest
from tiny_llama import SPECIAL, write_tokenizer

from seatools.text.token_bytes import token_num_bytes
from seatools.text.tokenizer import load_tokenizer

TEXTS = (
    "The cat sat on the mat.", "สวัสดีครับ ผมชื่อแมว", "Xin chào thế giới", "မင်္ဂလာပါ", "ສະບາຍດີ", "tab\tand\nline",
    "emoji 🐟🐠, math ∑ and   spaces", "中文 日本語 한국어",
)  # fmt: skip


@pytest.mark.parametrize("name", ["gpt2-tiktoken", "gptj-base"])
def test_byte_level_bytes_are_those_of_the_text(shared, name):
    tokenizer = load_tokenizer(shared / "tokenizers" / name)
    counts = token_num_bytes(tokenizer)
    assert counts.shape == (tokenizer.vocab_size,)
    for text in TEXTS:
        assert counts[tokenizer.encode(text)].sum() == len(text.encode())


@pytest.mark.parametrize("path", ["tokenizers/mistral-v1-spm", "models/stories260K"])
def test_sentencepiece_adds_the_space_before_a_text(shared, path):
    tokenizer = load_tokenizer(shared / path)
    counts = token_num_bytes(tokenizer)
    for text in TEXTS:
        text = " ".join(text.split())  # what a normaliser drops is in no token
        assert counts[tokenizer.encode(text)].sum() == len(text.encode()) + 1


def test_special_tokens_and_unused_ids_stand_for_no_bytes(tmp_path, shared):
    write_tokenizer(tmp_path)
    counts = token_num_bytes(load_tokenizer(tmp_path))
    assert counts[: len(SPECIAL)].tolist() == [0] * len(SPECIAL)
    assert (counts[len(SPECIAL) :] == 1).all()
