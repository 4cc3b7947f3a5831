"""The command line that is running: what was typed, and what configuration added to it. Manifests store both.

A manifest that held only `argv` could not be replayed where a setting came from `sea.toml` or the environment.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Setting:
    """An option that was not typed: its spelling (`--seed`, or an argument's name), where it came from, and the words
    that would have to be typed to the same end; none for what cannot be typed (a flag that is off)."""

    option: str
    source: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class CommandLine:
    """Words after `sea`, and the settings that configuration gave."""

    argv: tuple[str, ...]
    settings: tuple[Setting, ...] = ()


_running: list[CommandLine] = []


def current() -> CommandLine:
    """The innermost command line that runs; outside of any, what this process was started with."""
    return _running[-1] if _running else CommandLine(tuple(sys.argv[1:]))


@contextlib.contextmanager
def running(argv: Sequence[str], settings: Sequence[Setting]) -> Iterator[None]:
    """While this is open, `current` gives this command line."""
    _running.append(CommandLine(tuple(argv), tuple(settings)))
    try:
        yield
    finally:
        _running.pop()
