"""A tokenizer small enough to count by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from seatools.text.byte_alphabet import spell
from seatools.text.tokenizer import Tokenizer, load_tokenizer


def write_tokenizer(folder: Path) -> Path:
    """Byte-level: 256 bytes, the tokens "th" and "the", and the special token <|end|>."""
    folder.mkdir()
    vocabulary = {spell(bytes([byte])): byte for byte in range(256)} | {"th": 256, "the": 257, "<|end|>": 258}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\nt h\nth e\n")
    decoder = {"258": {"content": "<|end|>", "special": True}}
    config = {"tokenizer_class": "GPT2Tokenizer", "unk_token": None, "added_tokens_decoder": decoder}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    """The folder of that tokenizer."""
    return write_tokenizer(tmp_path / "tokenizer")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """The same, loaded, for tests with many examples."""
    return load_tokenizer(write_tokenizer(tmp_path_factory.mktemp("tiny") / "tokenizer"))
