"""A model of bytes and a little Thai and English, for `sea lsn-detect` from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ENGLISH = [f"The {a} {b} is {c}." for a in ("old", "new", "red", "wet") for b in ("house", "road", "tree", "boat")
           for c in ("here", "far away", "by the sea", "not mine")]  # fmt: skip
THAI = [f"{a}{b}{c}" for a in ("บ้าน", "ถนน", "ต้นไม้", "เรือ") for b in ("เก่า", "ใหม่", "สีแดง", "เปียก")
        for c in ("อยู่ที่นี่", "อยู่ไกล", "ติดทะเล", "ไม่ใช่ของฉัน")]  # fmt: skip


def save_model(folder: Path, model: Any) -> Path:
    """`model` with a tokenizer of 256 bytes, BOS and EOS."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    model.save_pretrained(folder)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {"<unk>": 0, "<s>": 1, "</s>": 2} | {letter: i + 3 for i, letter in enumerate(letters)}
    tokenizer = Tokenizer(models.BPE(vocab, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"bos_token": "<s>", "eos_token": "</s>"}')
    return folder


def rows_of(result: Any) -> dict[str, dict[str, Any]]:
    assert result.code == 0, result.stderr
    return {row["lang"]: row for row in map(json.loads, result.stdout.splitlines())}
