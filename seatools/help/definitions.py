"""Every command and every part of a command (`sea lsn-detect stats`), defined; for what is generated from all of them.

A command's module names its parts in SUBCOMMANDS: name -> module with an `app`, or with several in a table `APPS`.
Imports every command's flags, and so is for generators (completions, man pages, docs) and tests, not for `sea --help`.
"""

from __future__ import annotations

import importlib
from typing import Any

from seatools.cli import COMMANDS
from seatools.streams.flag_definitions import Definition, define


def definitions() -> dict[str, Definition]:
    """What is typed after `sea` ("train", "train apply-patch") -> its definition; a part follows its whole."""
    found = {}
    for name, (module_name, _) in COMMANDS.items():
        module: Any = importlib.import_module(module_name)
        if hasattr(module, "app"):
            found[name] = _defined(name, module.app)
        for part, part_module in getattr(module, "SUBCOMMANDS", {}).items():
            inner: Any = importlib.import_module(part_module)
            app = getattr(inner, "APPS", {}).get(part) or inner.app
            found[f"{name} {part}"] = _defined(f"{name} {part}", app)
    return found


def parts_of(name: str, table: dict[str, Definition]) -> list[str]:
    """The names of a command's parts: ["stats", "select", ...] of "lsn-detect"."""
    return [other.split()[1] for other in table if other.startswith(f"{name} ")]


def _defined(name: str, app: Any) -> Definition:
    callback = app.registered_commands[0].callback
    assert callback is not None
    return define(name, callback)
