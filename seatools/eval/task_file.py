"""A task is a TOML file: what its rows look like, the prompt, how an answer counts. docs/eval-tasks.md has every key.

Built-in tasks are the files of `tasks/`; a user's own, and those of plugins, are read by the same code. "NAME:VARIANT"
takes the file with the tables of [variants.VARIANT] laid over it (another prompt, generation instead of letters). The
digest covers the file's content after the variant, so that a comment does not make a result stale.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from seatools.eval.task_parts import TaskFile
from seatools.eval.task_reader import parse_task
from seatools.streams import plugins
from seatools.streams.errors import UsageError

__all__ = ["AUTO", "TaskFile", "builtin_names", "load_task", "parse_task", "task_of", "task_text"]

AUTO = ("xcopa", "belebele", "mmlu", "sib200", "nusax", "m3exam", "choice")
"""Multiple-choice tasks in the order in which a record is tried for them."""


@lru_cache
def builtin_names() -> tuple[str, ...]:
    """The tasks that come with sea."""
    folder = resources.files("seatools.eval").joinpath("tasks")
    return tuple(sorted(file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml")))


def task_of(value: Mapping[str, Any], names: Sequence[str] = AUTO) -> TaskFile | None:
    """The first of these built-in tasks whose columns a record has."""
    return next((task for name in names if (task := load_task(name)).recognises(value)), None)


def load_task(name: str) -> TaskFile:
    """The task of a built-in name or a path to a TOML file, with ":VARIANT" behind it if one is wanted.

    Raises UsageError for a name that is none, a file that is no task, a variant that it has not.
    """
    own, variant = _split(name)
    return _builtin(own, variant) if own in builtin_names() else parse_task(_text(own), own, variant)


def task_text(name: str) -> str:
    """The TOML of a built-in task or of a file, with all its variants. Raises UsageError as `load_task` does."""
    own, _ = _split(name)
    return _builtin_text(own) if own in builtin_names() else _text(own)


def _split(name: str) -> tuple[str, str]:
    """Name and variant; a path that is there has none, whatever colons stand in it."""
    own, colon, variant = name.rpartition(":")
    return (own, variant) if colon and own and not Path(name).exists() else (name, "")


def _builtin_text(name: str) -> str:
    return resources.files("seatools.eval").joinpath("tasks", f"{name}.toml").read_text(encoding="utf-8")


@lru_cache
def _builtin(name: str, variant: str) -> TaskFile:
    return parse_task(_builtin_text(name), f"{name}.toml", variant)


def _text(path: str) -> str:
    if not path.endswith(".toml"):
        if (text := plugins.task_text(path)) is not None:
            return text
        close = difflib.get_close_matches(path, builtin_names(), n=1)
        hint = f"did you mean {close[0]}?" if close else f"tasks are {', '.join(builtin_names())}, or a .toml file"
        raise UsageError(f'no task "{path}"', fix=hint)
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UsageError(f"{path}: no such task file") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not UTF-8 text", fix="a task is a TOML file") from None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
