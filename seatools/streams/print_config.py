"""`--print-config`: what each option would be, and where that comes from, as TOML that --config reads again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from seatools.streams.configuration import NOT_IN_FILES


@dataclass(frozen=True)
class Resolved:
    """One option: its key in a configuration file, its value, where that came from."""

    key: str
    value: Any
    source: str


def as_toml(name: str, options: Sequence[Resolved]) -> str:
    """A table of TOML; options without a value, and those that no file may give, stand in comments."""
    table = name if " " not in name else f'"{name}"'
    lines = [f"[{table}]"]
    for option in options:
        value = _plain(option.value)
        comment = "# " if value is None or option.key in NOT_IN_FILES else ""
        line = f"{comment}{option.key} = {_toml(value) if value is not None else ''}".rstrip()
        lines.append(f"{line:<40}  # {option.source}")
    return "\n".join(lines) + "\n"


def as_json(name: str, options: Sequence[Resolved]) -> str:
    """One object: the command, and option -> value and source."""
    rows = {option.key: {"value": _plain(option.value), "source": option.source} for option in options}
    return json.dumps({"command": name, "options": rows}, ensure_ascii=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value] or None
    if isinstance(value, Path):
        return str(value)
    return value


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_toml(item) for item in value)}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
