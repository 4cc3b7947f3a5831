"""One file or folder beside what a manifest recorded of it. Nothing but regular files is opened: a pipe would wait."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from seatools.streams.digests import folder_digest, sha256_file


class State(Enum):
    """What `sea verify` says of a file."""

    ok = "ok"
    changed = "changed"
    missing = "missing"
    unknown = "unknown"


@dataclass(frozen=True)
class Checked:
    """The outcome: the digest that was recorded, the one that was found if it was computed, and why not ok."""

    state: State
    recorded: str | None = None
    sha256: str | None = None
    why: str = ""


def check_file(place: Path, row: Mapping[str, Any], seen: dict[str, str]) -> Checked:
    """A file against its row (`bytes`, `sha256`). `seen`: digests by real path, so that each file is read once."""
    recorded, size = row.get("sha256"), row.get("bytes")
    try:
        status = os.stat(place)
    except (OSError, ValueError) as error:
        if size is None and recorded is None:
            return Checked(State.unknown, why="no file, and none was recorded")
        return Checked(State.missing, recorded, why=getattr(error, "strerror", None) or "no such file")
    if not stat.S_ISREG(status.st_mode):
        changed = size is not None and not stat.S_ISFIFO(status.st_mode)
        return Checked(State.changed if changed else State.unknown, recorded, why="not a regular file")
    if size is None:
        return Checked(State.unknown, recorded, why="no size was recorded")
    if status.st_size != size:
        return Checked(State.changed, recorded, why=f"{status.st_size:,} bytes, {size:,} recorded")
    if recorded is None:
        return Checked(State.unknown, why="recorded by its size only, which is the same")
    try:
        found = _digest(place, seen)
    except OSError as error:
        return Checked(State.missing, recorded, why=f"cannot be read: {error.strerror}")
    same = found == recorded
    return Checked(State.ok if same else State.changed, recorded, found, "" if same else "other content")


def check_folder(place: Path, row: Mapping[str, Any], seen: dict[str, str]) -> Checked:
    """A model or tokenizer folder against its row (`sha256` over its files, `by_size`: names of those not hashed)."""
    recorded = row.get("sha256")
    if recorded is None:
        return Checked(State.unknown, why="no digest was recorded")
    by_size = {os.path.realpath(place / name): None for name in row.get("by_size") or ()}
    try:
        found = folder_digest(place, known=by_size)
    except OSError as error:
        return Checked(State.missing, recorded, why=f"cannot be read: {error.strerror}")
    same = found == recorded
    return Checked(State.ok if same else State.changed, recorded, found, "" if same else "other files or other content")


def _digest(place: Path, seen: dict[str, str]) -> str:
    key = os.path.realpath(place)
    if key not in seen:
        seen[key] = sha256_file(place)
    return seen[key]
