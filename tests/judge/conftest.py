"""Tiny judges: one token a byte without and with a chat template; SentencePiece. And judges that are rigged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_sentencepiece
import torch
from tiny_llama import write_model, write_tokenizer

from seatools.text.tokenizer import load_tokenizer

torch.set_num_threads(1)
POSITIONS = 1536


@pytest.fixture(scope="session")
def byte_judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("judges") / "byte"
    write_tokenizer(folder, template=None)
    return write_model(folder, max_position_embeddings=POSITIONS)


@pytest.fixture(scope="session")
def chat_judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("judges") / "chat"
    write_tokenizer(folder)
    return write_model(folder, max_position_embeddings=POSITIONS)


@pytest.fixture(scope="session")
def piece_judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tiny_sentencepiece.write_sentencepiece(tmp_path_factory.mktemp("judges") / "piece")
    return write_model(folder, vocab_size=tiny_sentencepiece.VOCABULARY, max_position_embeddings=POSITIONS)


@pytest.fixture
def rigged(monkeypatch, byte_judge):
    """`rigged(quality=2, bias=0)`: a judge whose log-odds of label A are bias, and +-quality if A is good or not."""
    tokenizer = load_tokenizer(byte_judge)

    def install(*, quality: float = 0.0, bias: float = 0.0) -> None:
        def score(model, docs, **_):
            texts = [tokenizer.decode(list(map(int, ids))) for ids, _ in docs]
            good = [" A:\ngood" in text for text in texts]
            odds = np.array([bias + (quality if is_good else -quality) for is_good in good])
            return np.where([text.endswith(" A") for text in texts], odds, 0.0)

        monkeypatch.setattr("seatools.judge.both_orders.prefix_scores", score)

    return install
