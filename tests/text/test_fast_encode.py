"""gigatoken gives the library's ids, or is refused. Skipped where the `fast` extra is not installed."""

from __future__ import annotations

import numpy as np
import pytest

from seatools.streams.errors import SeaError
from seatools.text.tokenizer import load_tokenizer

pytest.importorskip("gigatoken", reason="needs the extra: pip install 'sea-adapt[fast]'")

from seatools.text.fast_encode import FastEncoder

BYTE_LEVEL = ("qwen2", "o200k-tiktoken", "cl100k-tiktoken", "gpt2-tiktoken", "gpt2-thai", "gptj-thai-merged")
FALLBACK = ("mistral-v1-spm", "mistral-v3-spm", "openllama")


def rows(encoder, texts):
    ids, num_tokens = encoder.encode(texts)
    assert num_tokens.dtype == np.int64 and len(ids) == num_tokens.sum()
    return [row.tolist() for row in np.split(ids, np.cumsum(num_tokens)[:-1])]


@pytest.mark.parametrize("name", [*BYTE_LEVEL, *FALLBACK])
def test_the_ids_are_the_librarys(shared, name):
    tokenizer = load_tokenizer(shared / "tokenizers" / name)
    folder = shared / "data" / "ntrex"
    texts = [
        line
        for lang in ("eng", "tha", "lao", "khm", "mya", "vie", "zho-CN", "arb")
        for line in (folder / f"{lang}.txt").read_text(encoding="utf-8").split("\n")[:60]
    ]
    texts += [" ", "  a", "a\n\n b\r\n", "\ufeffx", "e\u0301", "\ue000", "x" * 3000, "1234567", "\u200b\u3000"]
    assert rows(FastEncoder(tokenizer), texts) == tokenizer.encode_batch(texts)


@pytest.mark.parametrize("name", ["qwen2", "mistral-v1-spm", "o200k-tiktoken", "gpt2-thai"])
def test_the_spelling_of_a_special_token_stays_text(shared, name):
    tokenizer = load_tokenizer(shared / "tokenizers" / name)
    texts = ["plain", *(f"a {special} b" for special in tokenizer.special_ids), "plain again"]
    assert rows(FastEncoder(tokenizer), texts) == tokenizer.encode_batch(texts)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("t5-v1_1-spm-unigram", "only BPE sentencepiece models"),
        ("myanmar-spm-bpe-10k", "only byte_fallback sentencepiece models"),
    ],
)
def test_what_it_cannot_run_is_said(shared, name, why):
    with pytest.raises(SeaError, match=why) as error:
        FastEncoder(load_tokenizer(shared / "tokenizers" / name))
    assert error.value.fix == "run again without --fast"


def test_other_ids_are_refused(shared, monkeypatch):
    tokenizer = load_tokenizer(shared / "tokenizers" / "gpt2-tiktoken")
    encoder = FastEncoder(tokenizer)
    monkeypatch.setattr(tokenizer, "encode_batch", lambda texts: [[0] for _ in texts])
    with pytest.raises(SeaError, match="gives other ids for 'hello'"):
        encoder.check(["hello"])


def test_a_pattern_of_the_users_is_refused(shared):
    path = shared / "tokenizers" / "gpt2-tiktoken"
    with pytest.raises(SeaError, match="does not know its pattern"):
        FastEncoder(load_tokenizer(path, pattern=r"\S+|\s+"))
