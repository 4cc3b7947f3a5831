"""Tiny judges: one token a byte without and with a chat template; SentencePiece."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_sentencepiece
import torch
from tiny_llama import write_model, write_tokenizer

torch.set_num_threads(1)
POSITIONS = 512


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
