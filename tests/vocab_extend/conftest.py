"""Tiny base tokenizers, made by hand: every merge and every piece is in the test that uses it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import tiny_sentencepiece

from seatools.text.byte_alphabet import spell

Merges = Sequence[tuple[bytes, bytes]]


def write_byte_level(folder: Path, merges: Merges, special: Sequence[str] = ()) -> Path:
    """A GPT-2-like folder: 256 bytes, then one token a merge, then the special tokens beyond the model's vocabulary."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {spell(bytes([byte])): byte for byte in range(256)}
    lines = ["#version: 0.2"]
    for left, right in merges:
        vocabulary.setdefault(spell(left + right), len(vocabulary))
        lines.append(f"{spell(left)} {spell(right)}")
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    decoder = {str(len(vocabulary) + at): {"content": text, "special": True} for at, text in enumerate(special)}
    config = {"tokenizer_class": "GPT2Tokenizer", "added_tokens_decoder": decoder}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def write_byte_level_json(folder: Path, merges: Merges, special: Sequence[str] = (), **model: object) -> Path:
    """The same as a tokenizer.json; `model`: more keys of its model (ignore_merges=True)."""
    from seatools.text.tokenizer import load_tokenizer

    pair = load_tokenizer(write_byte_level(folder, merges, special))
    parsed = pair.json_model  # type: ignore[attr-defined]
    parsed["model"].update(model)
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        (folder / name).unlink()
    (folder / "tokenizer.json").write_text(json.dumps(parsed), encoding="utf-8")
    return folder


def write_sentencepiece(
    folder: Path, pieces: Sequence[str], *, byte_fallback: bool = True, beside: bool = False, runs: Sequence[str] = ()
) -> Path:
    """A Llama-like tokenizer.model: 3 specials, 256 bytes, `runs` at score -1e9, then `pieces` at 0, -1, -2, ...

    `beside`: also a tokenizer.json with every split of every piece as a merge, in score order.
    """
    tiny_sentencepiece.write_sentencepiece(folder, pieces, byte_fallback=byte_fallback, runs=runs)
    if beside:
        first = (*tiny_sentencepiece.SPECIAL, *(tiny_sentencepiece.BYTES if byte_fallback else ()))
        vocabulary = {piece: id for id, piece in enumerate((*first, *runs, *pieces))}
        ranked = [*pieces, *runs]
        merges = [
            [piece[:cut], piece[cut:]]
            for piece in ranked
            for cut in range(1, len(piece))
            if piece[:cut] in ranked and piece[cut:] in ranked
        ]
        parsed = {
            "version": "1.0",
            "added_tokens": [
                {"id": id, "content": text, "special": True, "normalized": False}
                | {"single_word": False, "lstrip": False, "rstrip": False}
                for id, text in enumerate(tiny_sentencepiece.SPECIAL)
            ],
            "normalizer": {
                "type": "Sequence",
                "normalizers": [
                    {"type": "Prepend", "prepend": "▁"},
                    {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
                ],
            },
            "pre_tokenizer": None,
            "post_processor": None,
            "decoder": {
                "type": "Sequence",
                "decoders": [
                    {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                    {"type": "ByteFallback"},
                    {"type": "Fuse"},
                    {"type": "Strip", "content": " ", "start": 1, "stop": 0},
                ],
            },
            "model": {
                "type": "BPE",
                "dropout": None,
                "unk_token": "<unk>",
                "continuing_subword_prefix": None,
                "end_of_word_suffix": None,
                "fuse_unk": True,
                "byte_fallback": byte_fallback,
                "ignore_merges": False,
                "vocab": vocabulary,
                "merges": merges,
            },
        }
        (folder / "tokenizer.json").write_text(json.dumps(parsed, ensure_ascii=False), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def byte_level() -> Callable[..., Path]:
    return write_byte_level


@pytest.fixture(scope="session")
def byte_level_json() -> Callable[..., Path]:
    return write_byte_level_json


@pytest.fixture(scope="session")
def sentencepiece_model() -> Callable[..., Path]:
    return write_sentencepiece
