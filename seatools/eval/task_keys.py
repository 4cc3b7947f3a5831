"""The keys that a task file may hold, with their types: a typing error is told, not passed over."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from seatools.streams.errors import UsageError

SCORINGS: dict[str, tuple[str, ...]] = {
    "choice": ("choice", "labels"),
    "generation": ("number", "letter", "exact", "span", "chrf", "refusal", "safety"),
    "translation": ("chrf",),
    "perplexity": ("bits_per_byte",),
    "tokenizer": ("tokens",),
    "judge": ("mark",),
}
"""Type -> how its answers may count (scoring.py)."""
ANSWER_FORMS = ("index", "number", "letter", "label", "text", "name", "any")

Types = tuple[type, ...]
_BODY: dict[str, type | Types] = {"prompt": str, "messages": str, "delimiter": str, "scoring": str}
_GENERATION: dict[str, type | Types] = _BODY | {"expect": dict, "stop": list, "max_new_tokens": int}
KEYS: dict[str, dict[str, type | Types]] = {
    "": {
        "name": str, "about": str, "cite": str, "type": str, "languages": list, "lang_column": str,
        "lang_columns": bool, "private": bool, "rows": (dict, list), "words": dict, "hf": dict, "shots": dict,
        "chat": dict, "choice": dict, "generation": dict, "perplexity": dict, "tokenizer": dict, "judge": dict,
    },
    "rows": {"match": (str, list), "unpack": list, "headerless": list, "columns": dict, "let": dict, "id": str,
             "auto": bool},
    "hf": {"path": str, "config": str, "configs": dict, "split": str, "shots_split": str},
    "shots": {
        "count": int, "fewer": bool, "same": list, "separator": str, "rows": dict, "template": str, "answer": str,
        "prompt": str, "description": str,
    },
    "chat": {"required": bool, "system": str, "prompt": str},
    "choice": _BODY | {
        "options": str, "answer": str, "answer_as": str, "names": list, "letters": (str, list), "score": str,
        "shuffle": int, "descriptions": str,
    },
    "generation": _GENERATION,
    "perplexity": {"scoring": str},
    "tokenizer": {"scoring": str},
    "judge": {
        "instruction": str, "turns": list, "systems": list, "users": list, "aspects": dict, "aspect_of": str,
        "judge_tokens": int, "max_new_tokens": int, "stop": list, "scoring": str,
    },
}  # fmt: skip
_STRINGS = (
    "languages", "match", "unpack", "headerless", "same", "turns", "systems", "users", "stop", "letters"
)  # fmt: skip
_SPELLED = {str: "a string", int: "a whole number", bool: "true or false", list: "a list", dict: "a table"}


def check_keys(table: Any, of: str, where: str) -> None:
    """Raises UsageError for a key that is none, or of another type; at the top level also within the tables."""
    name = f"[{of}]" if of else "the file"
    if not isinstance(table, dict):
        raise UsageError(f"{name} is not a table", where=where)
    known = KEYS[of]
    for key, value in table.items():
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
            raise UsageError(f'{name} has the key "{key}", which is none', where=where, fix=hint)
        wanted = known[key]
        types: Types = wanted if isinstance(wanted, tuple) else (wanted,)
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            spelled = " or ".join(_SPELLED[kind] for kind in types)
            raise UsageError(f"{key} in {name} is not {spelled}", where=where)
        if isinstance(value, list) and key in _STRINGS and not all(isinstance(one, str) for one in value):
            raise UsageError(f"{key} in {name} is not a list of strings", where=where)
        if not of and key in ("hf", "shots", "chat"):
            check_keys(value, key, where)
        if key in ("count", "max_new_tokens", "judge_tokens") and isinstance(value, int) and value < 0:
            raise UsageError(f"{key} is {value}", where=where)
    if of == "hf" and "path" not in table:
        raise UsageError("[hf] needs a path", where=where)
    if not of:
        for lang, own in table.get("words", {}).items():
            if not isinstance(own, dict):
                raise UsageError(f"[words.{lang}] is not a table", where=where)


def word(table: Mapping[str, Any], key: str, where: str) -> str:
    """A key that every task has."""
    value = table.get(key)
    if not isinstance(value, str) or not value:
        raise UsageError(f'a task needs "{key}"', where=where)
    if key == "type" and value not in SCORINGS:
        raise UsageError(f'type is "{value}", none of {", ".join(SCORINGS)}', where=where)
    return value
