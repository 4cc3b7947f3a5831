"""Tiny models to sample from: one token a byte and a chat template; SentencePiece and none."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_sentencepiece
import torch
from tiny_llama import write_model, write_tokenizer

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def byte_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "byte"
    write_tokenizer(folder)
    return write_model(folder)


@pytest.fixture(scope="session")
def piece_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tiny_sentencepiece.write_sentencepiece(tmp_path_factory.mktemp("models") / "piece")
    return write_model(folder, vocab_size=tiny_sentencepiece.VOCABULARY)


@pytest.fixture(scope="session", params=["byte_model", "piece_model"])
def model(request: pytest.FixtureRequest) -> Path:
    """Either of them."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def fallback_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_sentencepiece.write_fallback_json(tmp_path_factory.mktemp("tokenizers") / "fallback")
