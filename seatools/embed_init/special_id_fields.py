"""Token ids in config.json and generation_config.json: do they fit the tokenizer, and what are they after the change.

Every `*_token_id` and `*_token_index` field (one id or a list), `suppress_tokens` and `bad_words_ids`, at the top and
in the nested text config. An id that no token of the old tokenizer has is left as it is; the id of a token that the new
tokenizer dropped becomes null, or leaves its list, and is reported.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from seatools.embed_init.token_map import TokenMap
from seatools.streams.errors import SeaError
from seatools.text.tokenizer import Tokenizer

_ID_FIELD = re.compile(r"(_token_ids?|_token_index)$|^(begin_)?suppress_tokens$|^bad_words_ids$")
_WRITTEN_SPECIAL = re.compile(r"^(<.+>|\[.+\])$")


def updated_config(
    config: dict[str, Any], tokens: TokenMap, num_old_rows: int, num_rows: int
) -> tuple[dict[str, Any], list[str]]:
    """A copy with `vocab_size` and special ids of the new tokenizer, and the fields that named a dropped token."""
    new_id = {old: new for new, old in tokens.old_id.items()}
    dropped = set(tokens.dropped)
    lost: list[str] = []

    def moved(value: Any) -> Any:
        if isinstance(value, list):
            return [moved(item) for item in value if not (type(item) is int and item in dropped)]
        if type(value) is not int:
            return value
        return None if value in dropped else new_id.get(value, value)

    def walk(section: dict[str, Any], prefix: str) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, value in section.items():
            if isinstance(value, dict) and key.endswith("_config"):
                result[key] = walk(value, f"{prefix}{key}.")
            elif key == "vocab_size" and value == num_old_rows:
                result[key] = num_rows
            elif _ID_FIELD.search(key):
                result[key] = moved(value)
                if dropped.intersection(_ids(value)):
                    lost.append(prefix + key)
            else:
                result[key] = value
        return result

    return walk(config, ""), lost


def check_special_ids(config: dict[str, Any], old: Tokenizer) -> None:
    """`SeaError` if `config` names special tokens, and none of their ids is one in `old`: it is another model's.

    Also if `old` names BOS and EOS itself, and neither is the config's. One of the two may differ: chat versions of a
    model end with another token.
    """
    text = [config, *(value for key, value in config.items() if key.endswith("_config") and isinstance(value, dict))]
    said = {
        role: {id for part in text for id in _ids(part.get(f"{role}_token_id")) if 0 <= id < old.vocab_size}
        for role in ("bos", "eos", "pad")
    }
    known = {role: id for role, id in (("bos", old.bos_id), ("eos", old.eos_id)) if id is not None and said[role]}
    other = len(known) == 2 and all(id not in said[role] for role, id in known.items())
    if other or (any(said.values()) and not any(_looks_special(old, id) for ids in said.values() for id in ids)):
        named = ", ".join(f"{role} is {min(ids)} ({_spelled(old, min(ids))})" for role, ids in said.items() if ids)
        raise SeaError(
            f"{old.path} is not the tokenizer of this model: by config.json {named}",
            fix="--old-tokenizer names the tokenizer that the model was trained with",
        )


def _looks_special(tokenizer: Tokenizer, id: int) -> bool:
    """Declared special, or written like one: vocab.json with merges.txt declares none."""
    try:
        return id in tokenizer.special_ids.values() or _WRITTEN_SPECIAL.search(tokenizer.piece(id)) is not None
    except SeaError:
        return False


def _spelled(tokenizer: Tokenizer, id: int) -> str:
    try:
        return f"{tokenizer.piece(id)!r} there"
    except SeaError:
        return "unused there"


def id_fields(config: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, list[int]]]:
    """Every field that holds token ids, by its name with a dot for each level, and its ids in order."""
    for key, value in config.items():
        if isinstance(value, dict) and key.endswith("_config"):
            yield from id_fields(value, f"{prefix}{key}.")
        elif _ID_FIELD.search(key):
            yield prefix + key, _ids(value)


def _ids(value: Any) -> list[int]:
    if isinstance(value, list):
        return [id for item in value for id in _ids(item)]
    return [value] if type(value) is int else []
