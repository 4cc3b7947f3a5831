"""A tokenizer small enough to count by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from seatools.text.byte_alphabet import spell


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    """Byte-level: 256 bytes, the tokens "th" and "the", and the special token <|end|>."""
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    vocabulary = {spell(bytes([byte])): byte for byte in range(256)} | {"th": 256, "the": 257, "<|end|>": 258}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\nt h\nth e\n")
    decoder = {"258": {"content": "<|end|>", "special": True}}
    config = {"tokenizer_class": "GPT2Tokenizer", "unk_token": None, "added_tokens_decoder": decoder}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder
