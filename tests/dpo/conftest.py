"""A tiny model folder and some pairs for the tests of `dpo`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_llama import write_jsonl, write_model, write_tokenizer

torch.set_num_threads(1)

PAIRS = [
    {"prompt": "2+2=", "chosen": " 4", "rejected": " five"},
    {"prompt": "Apa kabar?", "chosen": " Baik, terima kasih!", "rejected": " ?"},
    {"prompt": "Sapi itu", "chosen": " makan rumput", "rejected": " terbang tinggi"},
    {"prompt": "x", "chosen": "yes", "rejected": "no"},
    {"prompt": "Siapa", "chosen": " dia", "rejected": " batu"},
]


@pytest.fixture(scope="session")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "base"
    write_tokenizer(folder)
    return write_model(folder)


@pytest.fixture
def prefs(tmp_path: Path) -> Path:
    """Five pairs of several lengths."""
    return write_jsonl(tmp_path / "prefs.jsonl", PAIRS)
