"""A tiny model folder and some text for the tests of `train`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_llama import TEXTS, write_jsonl, write_model, write_tokenizer

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "base"
    write_tokenizer(folder)
    return write_model(folder)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "data.jsonl", TEXTS)
