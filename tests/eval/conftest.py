"""A tiny random Llama with one token a byte, and what a task needs to be prepared on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_llama import write_model, write_tokenizer

from seatools.engine.load import model_positions
from seatools.eval.requests import Setup
from seatools.eval.setup import Options
from seatools.streams.messages import Messages
from seatools.streams.records import Rejects
from seatools.text.documents import Documents
from seatools.text.tokenizer import load_tokenizer

torch.set_num_threads(1)  # tiny matrices gain nothing from threads

POSITIONS = 160


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of two layers, with the room that questions take."""
    folder = tmp_path_factory.mktemp("tiny-llama")
    write_tokenizer(folder, names=("bos", "eos"), template=None)
    return write_model(folder, max_position_embeddings=POSITIONS)


@pytest.fixture(scope="session")
def model(model_folder: Path) -> Any:
    from seatools.engine.load import load_model

    return load_model(model_folder, device="cpu", dtype=torch.float32)


@pytest.fixture
def setup_of(model_folder: Path) -> Callable[..., Setup]:
    """`setup_of(stride=3, ...)`: a Setup on the tiny model with these options."""
    tokenizer = load_tokenizer(model_folder)

    def make(**options: Any) -> Setup:
        documents = Documents(tokenizer, None, add_eos=False)
        positions = model_positions(model_folder)
        return Setup(model_folder, documents, positions, Options(**options), Messages(), Rejects())

    return make


@pytest.fixture
def log_probs(model: Any) -> Callable[[list[int]], torch.Tensor]:
    """`log_probs(ids)` [len(ids) - 1] float64: log p of every token after the first; plain forward, full logits."""

    def compute(ids: list[int]) -> torch.Tensor:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids])).logits[0].double()
        return logits[:-1].log_softmax(-1)[torch.arange(len(ids) - 1), torch.tensor(ids[1:])]

    return compute
