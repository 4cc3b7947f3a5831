"""Which tokens are special, added, BOS, EOS, UNK, PAD: read from the small JSON files beside a tokenizer.

Follows transformers (v5, `tokenization_utils_base._from_pretrained`): `tokenizer_config.json` rules; if it has
`added_tokens_decoder`, then `special_tokens_map.json` and `added_tokens.json` are not looked at; else the first
overrides the named tokens of the config and the second gives the ids of added tokens. A named token that no file gives
an id is put after the last id. A token is a string, or a dict with `content` and flags.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeGuard

from seatools.streams.errors import SeaError
from seatools.streams.parsed import parse_json

NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
CONFIG_NAMES = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
MAX_IDS = 1 << 21
"""Ids are below this, more than twice the largest vocabulary in use (XLM-V: 901,629). Tables with a row an id are made
of what a file says: 2^32 rows for one damaged number are more than a machine has, and 2^23 took 12 s."""
IDS_ARE = f"ids are whole numbers from 0 to {MAX_IDS - 1:,}"
TEMPLATE_NAMES = ("chat_template.jinja", "chat_template.json")
# The module that tokenizer_config.json names where the pre-tokenizer was changed (`vocab_extend/json_files.py`).
AS_SAVED = "tokenizer_as_saved.py"


@dataclass(frozen=True, kw_only=True)
class AddedToken:
    """A token recognised in the text before the model sees it. The flags are those of `tokenizers.AddedToken`."""

    content: str
    id: int | None = None
    special: bool = False
    lstrip: bool = False
    rstrip: bool = False
    single_word: bool = False
    normalized: bool = False

    def as_json(self) -> dict[str, Any]:
        """An entry of `added_tokens` in tokenizer.json."""
        return {
            "id": self.id if self.id is not None else 0,
            "content": self.content,
            "single_word": self.single_word,
            "lstrip": self.lstrip,
            "rstrip": self.rstrip,
            "normalized": self.normalized,
            "special": self.special,
        }


@dataclass(frozen=True, kw_only=True)
class TokenConfig:
    """What the small files say. An empty one stands for no files."""

    named: dict[str, AddedToken | None] = field(default_factory=dict)
    """bos_token, ... -> the token, or None where the file says null; a missing key means that nothing is said."""
    extra: tuple[AddedToken, ...] = ()
    """additional_special_tokens and extra_special_tokens."""
    added: tuple[AddedToken, ...] = ()
    """Added tokens with ids."""
    overrides: bool = False
    """True if `added` wins over `added_tokens` of tokenizer.json."""
    add_bos: bool | None = None
    values: dict[str, Any] = field(default_factory=dict)
    """tokenizer_config.json as it is."""
    files: tuple[Path, ...] = ()
    """The small files that are there, chat templates included."""

    def role(self, name: str, ids: dict[str, int], default: int | None) -> int | None:
        """The id of `bos_token` and the like: as the files say, else `default`."""
        if name not in self.named:
            return default
        token = self.named[name]
        return None if token is None else ids[token.content]


def read_json(path: Path) -> Any:
    """The JSON of a file; `SeaError` with its line if it is none."""
    text = read_bytes(path)
    try:
        return parse_json(text)
    except json.JSONDecodeError as error:
        place = f"{path}:{error.lineno}"
        raise SeaError(f"not valid JSON ({error.msg})", where=place, fix="get the file again; it may be cut") from None
    except UnicodeDecodeError:
        raise SeaError(f"{path} is not a JSON file in UTF-8", fix="get the file again") from None
    except ValueError as error:
        raise SeaError(f"{path} is not a JSON file that can be used: {error}", fix="get the file again") from None


def read_bytes(path: Path) -> bytes:
    """The bytes of a tokenizer file; `SeaError` if it cannot be read or holds nothing."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SeaError(f"{path}: {error.strerror}", fix="check the path and its permissions") from None
    if not data.strip():
        raise SeaError(f"{path} is empty", fix="get the file again; the download may have failed")
    return data


def is_id(value: Any) -> TypeGuard[int]:
    """Whether a file's value is an id of a token: a number below MAX_IDS."""
    return type(value) is int and 0 <= value < MAX_IDS


def read_added(value: Any, place: Path, *, id: int | None = None, special: bool | None = None) -> AddedToken:
    """A token as these files spell it: a string, or a dict with `content`; `special` overrides the dict's flag."""
    if isinstance(value, str):
        return AddedToken(content=value, id=id, special=bool(special))
    if isinstance(value, dict) and isinstance(value.get("content"), str):
        flags = {key: bool(value.get(key, False)) for key in ("special", "lstrip", "rstrip", "single_word")}
        if special is not None:
            flags["special"] = special
        normalized = bool(value.get("normalized", not flags["special"]))
        return AddedToken(content=value["content"], id=id, normalized=normalized, **flags)
    raise SeaError(f"{place}: {value!r} is not a token", fix='write a string, or a dict with "content"')


def read_config(folder: Path) -> TokenConfig:
    """Read the small files of `folder`; each may be missing."""
    present = {name: folder / name for name in CONFIG_NAMES if (folder / name).is_file()}
    objects: dict[str, dict[str, Any]] = {}
    for name, path in present.items():
        value = read_json(path)
        if not isinstance(value, dict):
            raise SeaError(f"{path} is not a JSON object", fix="get the file again")
        objects[name] = value
    values = objects.get("tokenizer_config.json", {})
    source = present.get("tokenizer_config.json", folder)
    said = dict(values)
    overrides = "added_tokens_decoder" in values
    added: list[AddedToken] = []
    if overrides:
        for key, value in _mapping(values["added_tokens_decoder"], source).items():
            if not re.fullmatch("[0-9]{1,9}", key):
                raise SeaError(f"{source}: added_tokens_decoder has the key {key!r}", fix="its keys are ids")
            added.append(read_added(value, source, id=int(key)))
    else:
        said |= objects.get("special_tokens_map.json", {})
    named = {name: _named(said[name], source) for name in NAMED if name in said}
    lists = said.get("extra_special_tokens") or said.get("additional_special_tokens") or []
    if not isinstance(lists, list | dict):
        raise SeaError(f"{source}: the list of further special tokens is {lists!r}", fix="write a list of strings")
    extra = [
        read_added(token, source, special=True)
        for token in (lists.values() if isinstance(lists, dict) else lists)
        if token
    ]
    if not overrides and "added_tokens.json" in objects:
        specials = {token.content for token in (*named.values(), *extra) if token is not None}
        for content, id in objects["added_tokens.json"].items():
            if not is_id(id):
                raise SeaError(f"{present['added_tokens.json']}: {content!r} has the id {id!r}", fix=IDS_ARE)
            special = content in specials
            added.append(AddedToken(content=content, id=id, special=special, normalized=not special))
    add_bos = values.get("add_bos_token")
    return TokenConfig(
        named=named,
        extra=tuple(extra),
        added=tuple(sorted(added, key=lambda token: token.id or 0)),
        overrides=overrides,
        add_bos=add_bos if isinstance(add_bos, bool) else None,
        values=values,
        files=(
            *present.values(),
            *(folder / name for name in (*TEMPLATE_NAMES, AS_SAVED) if (folder / name).is_file()),
        ),
    )


def _named(value: Any, source: Path) -> AddedToken | None:
    """A named token; an empty one means none, as null does."""
    token = read_added(value, source, special=True) if value else None
    return token if token is not None and token.content else None


def _mapping(value: Any, source: Path) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SeaError(f"{source}: added_tokens_decoder is not an object", fix="get the file again")
    return value


def merge_added(
    own: Iterable[AddedToken], config: TokenConfig, model_id: Callable[[str], int | None], model_size: int
) -> tuple[list[AddedToken], list[str]]:
    """All added tokens with their ids, in id order, and notes on what was settled.

    `own`: those of tokenizer.json. `model_id`: the id of a piece in the model's own vocabulary. `model_size`: its
    highest id + 1. A piece of the model keeps the model's id whatever the files say, as in tokenizers.
    """
    merged = {token.content: token for token in own}
    notes: list[str] = []
    for token in config.added:
        known = merged.get(token.content)
        if known is None:
            merged[token.content] = token
        else:
            if known.id != token.id:
                notes.append(f"{token.content!r} has id {known.id} in tokenizer.json (used) and {token.id} beside it")
            if config.overrides:
                merged[token.content] = replace(token, id=known.id)
    for named in (*config.named.values(), *config.extra):
        if named is not None:
            merged[named.content] = replace(merged.get(named.content, named), special=True)
    for content, token in merged.items():
        piece_id = model_id(content)
        if piece_id is not None and piece_id != token.id:
            if token.id is not None:
                notes.append(f"{content!r} is piece {piece_id} of the model, not {token.id} as its added token says")
            merged[content] = replace(token, id=piece_id)
    highest = max([model_size - 1, *(token.id for token in merged.values() if token.id is not None)])
    for content, token in merged.items():
        if token.id is None:
            highest += 1
            merged[content] = replace(token, id=highest)
            notes.append(f"no file gives the special token {content!r} an id; it gets {highest}, as in transformers")
    owners: dict[int | None, str] = {}
    for token in merged.values():
        if owners.setdefault(token.id, token.content) != token.content:
            raise SeaError(
                f"added tokens {owners[token.id]!r} and {token.content!r} have the same id {token.id}",
                fix="give each its own id in the tokenizer's files",
            )
    return sorted(merged.values(), key=lambda token: token.id or 0), notes
