"""Auxiliary vectors: tokens used alike come out alike, in any format, twice the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_folders import byte_fallback, byte_level

from seatools.embed_init.token_vectors import MIN_COUNT, _word, token_vectors
from seatools.embed_init.user_text import text_files, token_documents
from seatools.streams.errors import SeaError, UsageError
from seatools.text.tokenizer import Tokenizer, load_tokenizer

pytest.importorskip("gensim")


def _documents() -> list[np.ndarray]:
    """Ids 10 and 11 stand between the same neighbours, 12 between others; 13 is too rare."""
    generator = np.random.default_rng(0)
    lines = []
    for _ in range(400):
        lines.append(np.array([20, generator.choice([10, 11]), 21, 22]))
        lines.append(np.array([30, 12, 31, 32]))
    return [*lines, np.array([13] * (MIN_COUNT - 1))]


@pytest.fixture
def tokenizer(tmp_path: Path) -> Tokenizer:
    return load_tokenizer(byte_level(tmp_path / "t", []))


def test_tokens_used_alike_are_alike(tokenizer: Tokenizer) -> None:
    ids, vectors = token_vectors(_documents(), tokenizer, seed=0)
    assert ids.tolist() == [10, 11, 12, 20, 21, 22, 30, 31, 32]
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = dict(zip(ids.tolist(), unit @ unit[0], strict=True))
    assert cosine[11] > cosine[12] + 0.2


def test_the_same_seed_gives_the_same_vectors(tokenizer: Tokenizer) -> None:
    one, two, other = (token_vectors(_documents(), tokenizer, seed)[1] for seed in (1, 1, 2))
    assert np.array_equal(one, two) and not np.array_equal(one, other)


def test_too_little_text(tokenizer: Tokenizer) -> None:
    with pytest.raises(SeaError, match="no token occurs 5 times"):
        token_vectors([np.array([10, 11])], tokenizer, 0)


def test_a_long_document_is_read_to_its_end(tokenizer: Tokenizer) -> None:
    document = np.concatenate([np.tile([10, 11], 6000), np.tile([40, 41], 50)])
    assert {40, 41} <= set(token_vectors([document], tokenizer, 0)[0].tolist())


def test_every_token_is_a_word_of_its_own(tmp_path: Path, shared: Path) -> None:
    """Fragments of characters, byte pieces and the letters that they spell among them."""
    fallback = load_tokenizer(byte_fallback(tmp_path / "f", ["▁", "A", "a", "▁a"]))
    qwen = load_tokenizer(shared / "tokenizers/qwen2")
    for tokenizer in (fallback, qwen):
        words = [_word(tokenizer, id) for id in range(min(tokenizer.vocab_size, 20_000))]
        assert len(set(words)) == len(words)


def test_text_is_read_up_to_the_limit_of_each_language(tmp_path: Path, tokenizer: Tokenizer) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.txt").write_text("\n".join(["abcde"] * 10) + "\n")
    files = text_files([f"x={tmp_path}/a.txt", f"y={tmp_path}/b.txt"])
    assert [len(document) for document in token_documents(files, tokenizer, 12)] == [5] * 6
    with pytest.raises(UsageError, match="named twice"):
        text_files([f"x={tmp_path}/a.txt", f"y={tmp_path}/a.txt"])
    (tmp_path / "none.txt").write_text("\n")
    with pytest.raises(SeaError, match="no text"):
        token_documents({"": [str(tmp_path / "none.txt")]}, tokenizer, 10)
