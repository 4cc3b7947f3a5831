"""What a path holds, found by looking into its files; and in a folder, which of them is used.

In a folder the most exact file wins: a SentencePiece model (with the tokenizer.json beside it for added tokens), then
tokenizer.json, then vocab.json + merges.txt, then tekken.json, then a tiktoken rank file. A file that such a folder
would use as well is read together with the small files that name its special tokens, so that both ways to name a
tokenizer give the same one; any other file (a donor vocabulary, say) stands alone.
"""

from __future__ import annotations

import re
from pathlib import Path

from seatools.streams.errors import SeaError, UsageError
from seatools.streams.inputs import bare_suffix, parse_labelled
from seatools.text.huggingface_json import JsonTokenizer
from seatools.text.sentencepiece_model import SentencePieceTokenizer
from seatools.text.special_tokens import TokenConfig, read_bytes, read_config, read_json
from seatools.text.tekken import TekkenTokenizer, is_tekken
from seatools.text.tiktoken_ranks import TiktokenTokenizer
from seatools.text.tokenizer import Tokenizer
from seatools.text.vocab_merges import load_vocab_merges

LOOKED_FOR = "*.model, tokenizer.json, vocab.json with merges.txt, tekken.json, *.tiktoken"
_RANK_LINE = re.compile(rb"[A-Za-z0-9+/]+={0,2} [0-9]+\r?\n")


def load(path: Path, pattern: str | None) -> Tokenizer:
    """See `tokenizer.load_tokenizer`."""
    if path.is_dir():
        return _load_folder(path, pattern)
    refuse_text(path)
    if not path.exists():
        raise SeaError(f"{path} does not exist", fix=f"give a tokenizer file, or a folder that holds {LOOKED_FOR}")
    return _load_file(path, pattern)


def refuse_text(path: Path) -> None:
    """Raises SeaError for `th=FILE` and what is named as text is: arguments in the wrong order, mostly."""
    lang, text = parse_labelled(str(path))
    if lang is not None and Path(text).exists():
        raise SeaError(f"{path} is a labelled text, where a tokenizer belongs", fix="the tokenizer comes first")
    if path.is_file() and bare_suffix(str(path)) in (".txt", ".jsonl", ".ndjson") and not _is_named_part(path):
        raise SeaError(f"{path} is a text, not a tokenizer", fix=f"give {LOOKED_FOR}, or a folder that holds one")


def _is_named_part(path: Path) -> bool:
    return path.name == "merges.txt" or _holds_ranks(path)


def _load_folder(folder: Path, pattern: str | None) -> Tokenizer:
    model, ranks = _single(folder, "model"), _single(folder, "tiktoken")
    json_path = folder / "tokenizer.json"
    if model is not None and not _holds_ranks(model):
        config = read_config(folder)
        return _load_model(folder, model, json_path if json_path.is_file() else None, config, pattern)
    if json_path.is_file():
        return _load_json(folder, json_path, read_config(folder), pattern)
    if (folder / "vocab.json").is_file() or (folder / "merges.txt").is_file():
        return _load_pair(folder, folder, pattern)
    if (folder / "tekken.json").is_file():
        return _load_json(folder, folder / "tekken.json", read_config(folder), pattern)
    ranks = ranks or model
    if ranks is not None:
        return TiktokenTokenizer(folder, ranks, pattern, (ranks, *read_config(folder).files))
    raise SeaError(f"{folder} holds no tokenizer", fix=f"looked for {LOOKED_FOR}")


def _load_file(path: Path, pattern: str | None) -> Tokenizer:
    if path.name in ("vocab.json", "merges.txt"):
        return _load_pair(path, path.parent, pattern)
    if path.suffix == ".tiktoken" or _holds_ranks(path):
        return TiktokenTokenizer(path, path, pattern, (path,))
    if path.suffix == ".json" or read_bytes(path).lstrip().startswith(b"{"):
        config = read_config(path.parent) if path.name == "tokenizer.json" else TokenConfig()
        return _load_json(path, path, config, pattern)
    alone = path.name == "tokenizer.model" or len(list(path.parent.glob("*.model"))) == 1
    config = read_config(path.parent) if alone and path.suffix == ".model" else TokenConfig()
    return _load_model(path, path, None, config, pattern)


def _load_model(path: Path, model: Path, json_path: Path | None, config: TokenConfig, pattern: str | None) -> Tokenizer:
    _refuse_pattern(model, pattern)
    if json_path is None:
        return SentencePieceTokenizer(path, model, config, files=(model, *config.files))
    beside = _load_json(path, json_path, config, None)
    if not isinstance(beside, JsonTokenizer):
        raise SeaError(f"{json_path} is a tekken file beside {model}", fix=f"give {model} or {json_path} alone")
    files = (model, *beside.files)
    return SentencePieceTokenizer(path, model, config, files=files, beside=beside, json_path=json_path)


def _load_json(
    path: Path, json_path: Path, config: TokenConfig, pattern: str | None
) -> JsonTokenizer | TekkenTokenizer:
    _refuse_pattern(json_path, pattern)
    parsed = read_json(json_path)
    files = [json_path, *config.files]
    if is_tekken(parsed):
        return TekkenTokenizer(path, parsed, tuple(files), where=json_path)
    if path.is_dir():
        # Copied with it: older programs read these and not tokenizer.json.
        files += [path / name for name in ("vocab.json", "merges.txt") if (path / name).is_file()]
    tokenizer = JsonTokenizer(path, parsed, config, files=tuple(files), where=json_path)
    if path.is_dir() and (path / "tekken.json").is_file():
        tokenizer.notes.append(f"{path}: tokenizer.json is used; the tekken.json beside it is neither read nor copied")
    return tokenizer


def _load_pair(path: Path, folder: Path, pattern: str | None) -> Tokenizer:
    pair = (folder / "vocab.json", folder / "merges.txt")
    for file in pair:
        if not file.is_file():
            raise SeaError(f"{file} is missing", fix="vocab.json and merges.txt are of use only together")
    config = read_config(folder)
    return load_vocab_merges(path, folder, config, pattern, (*pair, *config.files))


def _single(folder: Path, extension: str) -> Path | None:
    """The folder's one file with the extension (`tokenizer.model` before any other), or None."""
    found = sorted(path for path in folder.glob(f"*.{extension}") if path.is_file())
    named = [path for path in found if path.stem == "tokenizer"]
    if len(found) > 1 and not named:
        names = ", ".join(path.name for path in found)
        raise SeaError(f"{folder} holds several .{extension} files: {names}", fix="name the file itself")
    chosen = named or found
    return chosen[0] if chosen else None


def _holds_ranks(path: Path) -> bool:
    """True if the file is a tiktoken rank file, whatever its name (Llama 3 calls its own tokenizer.model)."""
    try:
        with path.open("rb") as file:
            return _RANK_LINE.match(file.read(4096)) is not None
    except OSError as error:
        raise SeaError(f"{path}: {error.strerror}", fix="check the path and its permissions") from None


def _refuse_pattern(path: Path, pattern: str | None) -> None:
    if pattern is not None:
        raise UsageError(f"{path} has its own pre-tokenizer", fix="leave --pattern out")
