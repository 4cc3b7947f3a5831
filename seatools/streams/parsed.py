"""JSON and TOML of small files, where whatever is wrong with the text is a ValueError.

The standard library answers a deep nesting with RecursionError, and decimal an exponent of 30 digits with
InvalidOperation; `json.loads` of bytes lets lone surrogates through, which no tokenizer and no file takes later on.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from typing import Any

_SURROGATES = ("\\ud", "\\uD")


def parse_json(text: bytes | str, *, unique: bool = False) -> Any:
    """The value of a JSON text; ValueError (JSONDecodeError where it has a place) for one that is none, is not UTF-8,
    is nested too deeply or holds lone surrogates. `unique`: also where an object names a key twice."""
    if isinstance(text, bytes):
        text = text.decode("utf-8-sig")
    try:
        value = json.loads(text, object_pairs_hook=_once if unique else None)
        if any(escape in text for escape in _SURROGATES):  # pairs are characters, and alone they are nothing
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except UnicodeEncodeError:
        raise ValueError("a string holds a lone surrogate") from None
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these members; of two with one name a reader would take one, and another reader the other."""
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a key stands there twice")
    return made


def parse_toml(text: str, parse_float: Callable[[str], Any] = float) -> dict[str, Any]:
    """The table of a TOML text; ValueError (TOMLDecodeError where it has a place) for one that is none, is nested too
    deeply or holds a number that cannot be held."""
    try:
        table = tomllib.loads(text, parse_float=parse_float)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except ArithmeticError:
        raise ValueError("a number with too large an exponent") from None
    values: list[Any] = [table]
    while values:  # Python holds any number and cannot print one of 4,301 digits, which hexadecimal may have
        value = values.pop()
        if isinstance(value, int) and value.bit_length() > 64:
            raise ValueError("a whole number of more than 64 bits")
        values += value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return table
