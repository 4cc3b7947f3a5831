"""The base's tokenizer files with the new tokens in them, whatever their format.

Only files that the base had are written (and tokenizer.json where vocab.json + merges.txt cannot hold a changed
pre-tokenizer); configuration and chat templates are copied. One module a format: `json_files.py`,
`sentencepiece_files.py`, `rank_files.py`.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seatools.streams.errors import SeaError, UsageError
from seatools.text.huggingface_json import JsonTokenizer
from seatools.text.sentencepiece_model import SentencePieceTokenizer
from seatools.text.special_tokens import read_bytes, read_json
from seatools.text.tekken import TekkenTokenizer
from seatools.text.tiktoken_ranks import TiktokenTokenizer
from seatools.text.tokenizer import Tokenizer
from seatools.vocab_extend.json_files import (
    check_pair,
    extended_json,
    extended_merges,
    extended_vocabulary,
    merges_of,
    plain_config,
)
from seatools.vocab_extend.new_token import NewToken
from seatools.vocab_extend.rank_files import extended_ranks, extended_tekken
from seatools.vocab_extend.sentencepiece_files import every_split, extended_model


def write_extended(
    tokenizer: Tokenizer, tokens: Sequence[NewToken], folder: Path, *, pre_tokenizer: dict[str, Any] | None = None
) -> list[str]:
    """Write all tokenizer files of `tokenizer` with `tokens` into `folder`; the names written.

    `tokens`: in order of priority; ids below the base's `vocab_size` take the place of pieces that nothing needs
    (explicit merges only). `pre_tokenizer`: a section of tokenizer.json that replaces the base's (`text/marks.py`).
    Errors: `UsageError` where the format cannot hold these; `SeaError` for files that contradict each other.
    """
    _check_ids(tokenizer, tokens)
    if pre_tokenizer is not None and not isinstance(tokenizer, JsonTokenizer):
        raise UsageError(
            f"{tokenizer.path}: a {tokenizer.kind} file cannot hold a changed pre-tokenizer",
            fix="leave --pretokenizer out, or give the model's tokenizer.json",
        )
    new = _new_files(tokenizer, tokens, pre_tokenizer)
    for name, data in new.items():
        (folder / name).write_bytes(data)
    names = list(new)
    for number, file in enumerate(tokenizer.files):
        if number and file.name not in new:
            shutil.copyfile(file, folder / file.name)
            names.append(file.name)
    return names


def _new_files(
    tokenizer: Tokenizer, tokens: Sequence[NewToken], pre_tokenizer: dict[str, Any] | None
) -> dict[str, bytes]:
    """The files that change."""
    first = tokenizer.files[0]
    if isinstance(tokenizer, TekkenTokenizer):
        return {"tekken.json": extended_tekken(tokenizer, tokens)}
    if isinstance(tokenizer, TiktokenTokenizer):
        return {first.name: extended_ranks(read_bytes(first), tokens)}
    if isinstance(tokenizer, SentencePieceTokenizer):
        files = {first.name: extended_model(tokenizer, tokens)}
        for file in tokenizer.files[1:]:
            if file.name == "tokenizer.json":
                merges = list(every_split(tokenizer, tokens)) if tokenizer.kind == "sentencepiece-bpe" else []
                files[file.name] = extended_json(read_json(file), tokens, tokenizer.added_tokens, merges, None)
        return files
    assert isinstance(tokenizer, JsonTokenizer)
    return _json_folder(tokenizer, tokens, pre_tokenizer)


def _json_folder(
    tokenizer: JsonTokenizer, tokens: Sequence[NewToken], pre_tokenizer: dict[str, Any] | None
) -> dict[str, bytes]:
    check_pair(tokenizer)
    added, merges = tokenizer.added_tokens, merges_of(tokens, tokenizer)
    files: dict[str, bytes] = {}
    for number, file in enumerate(tokenizer.files):
        if file.name == "merges.txt":
            files[file.name] = extended_merges(file, tokenizer.vocabulary, tokens, merges)
        elif file.name == "vocab.json":
            files[file.name] = extended_vocabulary(file, tokens, added)
        elif file.name == "tokenizer.json" or number == 0:
            files["tokenizer.json"] = extended_json(read_json(file), tokens, added, merges, pre_tokenizer)
    if pre_tokenizer is not None:
        if tokenizer.kind == "vocab-merges":
            files["tokenizer.json"] = extended_json(tokenizer.json_model, tokens, added, merges, pre_tokenizer)
        files |= plain_config(tokenizer)
    return files


def _check_ids(tokenizer: Tokenizer, tokens: Sequence[NewToken]) -> None:
    ids = [token.id for token in tokens]
    explicit = isinstance(tokenizer, JsonTokenizer) and tokenizer.json_model["model"]["type"] == "BPE"
    if not explicit and any(id < tokenizer.vocab_size for id in ids):
        raise UsageError(
            f"{tokenizer.path}: in a {tokenizer.kind} file the order of ids or scores is the order of priority",
            fix="leave --reuse-unreachable out: new tokens can only come last",
        )
    if explicit:
        added = {token.id: token.content for token in tokenizer.added_tokens}  # type: ignore[attr-defined]
        taken = [id for id in ids if id in added]
        if taken or len(set(ids)) < len(ids):
            raise SeaError(
                f"new tokens would take the id of {added[taken[0]]!r}" if taken else "two new tokens have the same id",
                fix="give every new token an id that no added token has",
            )
    elif ids != list(range(tokenizer.vocab_size, tokenizer.vocab_size + len(ids))):
        raise SeaError(f"new ids must follow each other from {tokenizer.vocab_size}", fix="number the tokens in order")
