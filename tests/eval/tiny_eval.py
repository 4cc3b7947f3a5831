"""Records, files and a tokenizer small enough to count by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

from seatools.streams.records import Record, dump


def write_tokenizer(folder: Path, **roles: str) -> None:
    """A byte-level tokenizer without merges into `folder`."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    engine = Tokenizer(BPE(vocab={piece: i for i, piece in enumerate(alphabet)}, merges=[]))
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    engine.decoder = decoders.ByteLevel()
    engine.add_special_tokens(["<s>", "</s>"])
    engine.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(roles))


def records(*values: dict[str, Any], path: str = "data.jsonl") -> list[Record]:
    return [Record(dump(value), value, path, line) for line, value in enumerate(values, 1)]


def jsonl(path: Path, *values: dict[str, Any]) -> Path:
    path.write_bytes(b"".join(dump(value) + b"\n" for value in values))
    return path
