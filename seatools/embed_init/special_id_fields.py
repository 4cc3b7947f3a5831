"""config.json and generation_config.json after the change: vocab_size, and the ids of tokens that moved.

Every `*_token_id` and `*_token_index` field (one id or a list), `suppress_tokens` and `bad_words_ids`, at the top and
in the nested text config. An id that no token of the old tokenizer has is left as it is; the id of a token that the new
tokenizer dropped becomes null, or leaves its list, and is reported.
"""

from __future__ import annotations

import re
from typing import Any

from seatools.embed_init.token_map import TokenMap

_ID_FIELD = re.compile(r"(_token_ids?|_token_index)$|^(begin_)?suppress_tokens$|^bad_words_ids$")


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
                if _ids(value) & dropped:
                    lost.append(prefix + key)
            else:
                result[key] = value
        return result

    return walk(config, ""), lost


def _ids(value: Any) -> set[int]:
    if isinstance(value, list):
        return {id for item in value for id in _ids(item)}
    return {value} if type(value) is int else set()
