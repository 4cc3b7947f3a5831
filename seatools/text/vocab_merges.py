"""Folders with vocab.json and merges.txt (GPT-2, Qwen2): byte-level BPE without its pre-tokenizer.

The pre-tokenizer is what `tokenizer_class` of tokenizer_config.json does in transformers (Qwen2: NFC and its own
pattern; GPT-2: its pattern), or the user's `pattern`, or, for bare files, GPT-2's by the field's convention (said in
`notes`). The result is an ordinary `tokenizer.json` in memory, run by `JsonTokenizer`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from seatools.streams.errors import SeaError
from seatools.text.huggingface_json import JsonTokenizer
from seatools.text.pretokenizer_presets import QWEN2_PATTERN, portable_pattern
from seatools.text.special_tokens import IDS_ARE, AddedToken, TokenConfig, is_id, read_bytes, read_json

END = "<|endoftext|>"


def load_vocab_merges(
    path: Path, folder: Path, config: TokenConfig, pattern: str | None, files: tuple[Path, ...]
) -> JsonTokenizer:
    """The tokenizer of `folder`. Errors: `SeaError` for files that do not fit each other or an unknown class."""
    vocab_path, merges_path = folder / "vocab.json", folder / "merges.txt"
    vocabulary = read_vocabulary(vocab_path)
    merges = read_merges(merges_path, vocabulary)
    family = str(config.values.get("tokenizer_class") or "").removesuffix("Fast")
    notes: list[str] = []
    normalizer: dict[str, Any] | None = None
    if pattern is not None:
        pre_tokenizer = _split(portable_pattern(pattern))
    elif family.startswith("Qwen2"):
        normalizer, pre_tokenizer = {"type": "NFC"}, _split(QWEN2_PATTERN)
    elif family.startswith("GPT2") or not family:
        prefix = bool(config.values.get("add_prefix_space", False))
        pre_tokenizer = {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": True}
        if not family:
            notes.append(
                f"{folder}: vocab.json and merges.txt do not say how text is split into words; GPT-2's way is used "
                "(--pattern names another)"
            )
    else:
        raise SeaError(
            f"{folder}: the pre-tokenizer of {family} is not in vocab.json and merges.txt",
            fix="give the folder's tokenizer.json (save it with transformers), or name the pattern with --pattern",
        )
    parsed: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": vocabulary,
            "merges": merges,
        },
    }
    config = _with_class_defaults(config, family, vocabulary)
    tokenizer = JsonTokenizer(path, parsed, config, files=files, where=vocab_path, kind="vocab-merges")
    tokenizer.notes += notes
    return tokenizer


def _split(pattern: str) -> dict[str, Any]:
    return {
        "type": "Sequence",
        "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
        ],
    }


def _with_class_defaults(config: TokenConfig, family: str, vocabulary: dict[str, int]) -> TokenConfig:
    # The defaults of the classes' __init__ in transformers, for roles that the config does not speak of. Bare files
    # have GPT-2's, provided that the token is there.
    roles = class_roles(family) or class_roles("GPT2")
    if END not in vocabulary and not any(token.content == END for token in config.added):
        return config
    end = AddedToken(content=END, special=True)
    defaults: dict[str, AddedToken | None] = {role: end for role in roles}
    return replace(config, named=defaults | config.named)


def class_roles(family: str) -> tuple[str, ...]:
    """The roles that END has by default in a tokenizer class of transformers; none for a class not known here."""
    if family.startswith("Qwen2"):
        return ("eos_token", "unk_token", "pad_token")
    return ("bos_token", "eos_token", "unk_token") if family.startswith("GPT2") else ()


def read_vocabulary(path: Path) -> dict[str, int]:
    """vocab.json: piece -> id."""
    vocabulary = read_json(path)
    if not isinstance(vocabulary, dict) or not vocabulary:
        raise SeaError(f"{path} is not a vocabulary", fix="vocab.json is one object, from piece to id")
    owners: dict[int, str] = {}
    for piece, id in vocabulary.items():
        if not is_id(id):
            raise SeaError(f"{path}: the id of {piece!r} is {id!r}", fix=IDS_ARE)
        if owners.setdefault(id, piece) != piece:
            raise SeaError(f"{path}: {owners[id]!r} and {piece!r} have the same id {id}", fix="get the file again")
    return vocabulary


def read_merges(path: Path, vocabulary: dict[str, int]) -> list[list[str]]:
    """merges.txt in order; every merge must join two pieces of the vocabulary into a third."""
    try:
        lines = read_bytes(path).decode().split("\n")
    except UnicodeDecodeError:
        raise SeaError(f"{path} is not UTF-8", fix="get the file again") from None
    lines = [line.removesuffix("\r") for line in lines]
    merges = [line.split(" ") for line in lines if line and not line.startswith("#version")]
    if all(len(pair) == 2 and all(part in vocabulary for part in (*pair, "".join(pair))) for pair in merges):
        return merges
    for number, line in enumerate(lines, 1):
        if line and not line.startswith("#version"):
            _check_merge(line, vocabulary, f"{path}:{number}")
    return merges


def _check_merge(line: str, vocabulary: dict[str, int], place: str) -> None:
    pair = line.split(" ")
    if len(pair) != 2 or not all(pair):
        raise SeaError(f"{line!r} is not a merge", where=place, fix="a line is two pieces and a space between")
    for piece in (*pair, "".join(pair)):
        if piece not in vocabulary:
            raise SeaError(
                f"the merge {line!r} needs the piece {piece!r}, which vocab.json does not have",
                where=place,
                fix="vocab.json and merges.txt must come from the same tokenizer",
            )
