"""Options that were not typed: where they may come from, in order, and what in those places cannot be meant.

A typed option wins over the environment (`SEA_TRAIN_LR`; `SEA_DEVICE` for what many commands have), that over the
`--config` file, over `sea.toml` in the working folder (not in folders above it, so that what a command does can be told
from where it stands), over the user's `~/.config/sea/config.toml`, over `--preset`, over the default. Those two files
hold a table for each command and, above those, only what many commands share; an unknown key is refused.
A variable for this command that names no option is warned of: it may be another version's.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seatools.streams.errors import UsageError

COMMON = ("color", "device", "dtype", "on-error", "quiet", "seed", "verbose", "workers")
"""Options that may stand above the tables of sea.toml, and in a variable without a command's name."""
PROJECT_FILE = "sea.toml"
NOT_IN_FILES = ("config", "help", "print-config", "debug")


@dataclass(frozen=True)
class Given:
    """The value of an option, as a default for typer, and where it was found."""

    value: Any
    source: str


def configured(
    name: str,
    params: Collection[Any],
    config: str | None,
    *,
    sections: Collection[str] = (),
    parts: Collection[str] = (),
    environ: Mapping[str, str] = os.environ,
) -> dict[str, Given]:
    """Parameter name -> its value, for the `params` (click's) of `sea NAME`.

    `sections`: arrays of tables of the --config file that the command reads by itself. `parts`: names of the command's
    subcommands, whose tables and variables are theirs. Raises UsageError for what cannot be meant.
    """
    options = {spelling.lstrip("-"): item for item in params for spelling in item.opts}
    found: dict[str, Given] = {}
    for path, told in (user_file(environ), (PROJECT_FILE, PROJECT_FILE)):
        if os.path.isfile(path):
            table = read_toml(path)
            _check_tables(table, told)
            values = _common(table, options) | _own_table(table, name, told, parts)
            for key in values:
                if key in sections:
                    raise UsageError(f'{told}: "{key}" is read from a --config file only', fix="--config FILE.toml")
            found |= _fitted(values, options, name, told)
    if config is not None:
        values = {key: value for key, value in read_config(config, name, parts=parts).items() if key not in sections}
        found |= _fitted(values, options, name, config)
    found |= _environment(name, options, parts, environ)
    for key, given in found.items():
        texts = given.value if isinstance(given.value, list) else [given.value]
        if any(isinstance(text, str) and "\0" in text for text in texts):  # which no command line can, and no path
            raise UsageError(f"{given.source}: {key.replace('_', '-')!r} holds a NUL character")
    return found


def user_file(environ: Mapping[str, str] = os.environ) -> tuple[str, str]:
    """The path of the user's own file, and that path as it is told."""
    home = environ.get("XDG_CONFIG_HOME") or os.path.join(environ.get("HOME") or os.path.expanduser("~"), ".config")
    path = os.path.join(home, "sea", "config.toml")
    user = os.path.expanduser("~") + os.sep
    return path, f"~{os.sep}{path[len(user) :]}" if path.startswith(user) else path


def read_toml(path: str | Path) -> dict[str, Any]:
    """A configuration file. Raises UsageError for what is none."""
    from seatools.streams.parsed import parse_toml

    try:
        return parse_toml(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", fix="--config names a TOML file") from error
    except ValueError as error:
        raise UsageError(f"{path}: not TOML: {error}", fix="--config names a TOML file") from error
    except RecursionError:
        raise UsageError(f"{path}: nested too deeply", fix="--config names a TOML file") from None


def read_config(path: str | Path, name: str, keep: Collection[str] = (), parts: Collection[str] = ()) -> dict[str, Any]:
    """The values for command `name` in a --config file: its top level, above that its table `[name]`.

    Other tables are other commands', but for those to `keep`.
    """
    table = read_toml(path)
    own = _own_table(table, name, path, parts)
    top = {key: value for key, value in table.items() if key != name}
    return {key: value for key, value in top.items() if not isinstance(value, dict) or key in keep} | own


def _own_table(table: Mapping[str, Any], name: str, path: str | Path, parts: Collection[str] = ()) -> dict[str, Any]:
    """`[train]`; of a part `[lsn-detect.stats]`, or `["lsn-detect stats"]`."""
    whole, _, part = name.partition(" ")
    own = table.get(name, {})
    if part and name not in table and isinstance(table.get(whole), dict):
        own = table[whole].get(part, {})
    if not isinstance(own, dict):
        raise UsageError(f'{path}: "{name}" is not a table', fix=f"[{name.replace(' ', '.')}]")
    return {key: value for key, value in own.items() if not (key in parts and isinstance(value, dict))}


def _check_tables(table: Mapping[str, Any], path: str) -> None:
    """In a file that all commands read, a table is named after a command, and else there are only shared options."""
    commands = {file.parent.name.replace("_", "-") for file in Path(__file__).parents[1].glob("*/command.py")}
    for key, value in table.items():
        if isinstance(value, dict):
            if key.partition(" ")[0] in commands:
                continue
            from seatools.streams.plugins import plugins

            if key in plugins("sea.commands"):
                continue
            raise UsageError(f'{path}: no command "{key}"', fix=_nearest(key, commands) or "[train], [mix], ...")
        if key.replace("_", "-") not in COMMON:
            fix = _nearest(key, COMMON) or f"options of one command go into its table, as [train] {key} = ..."
            raise UsageError(f'{path}: no option "{key}" for all commands', fix=fix)


def _common(table: Mapping[str, Any], options: Collection[str]) -> dict[str, Any]:
    found = {key: value for key, value in table.items() if not isinstance(value, dict)}
    return {key: value for key, value in found.items() if key.replace("_", "-") in options}


def _nearest(key: str, known: Collection[str]) -> str | None:
    import difflib

    close = difflib.get_close_matches(key, known, n=1)
    return f"did you mean {close[0]}?" if close else None


def _fitted(values: Mapping[str, Any], options: Mapping[str, Any], name: str, path: str) -> dict[str, Given]:
    found: dict[str, Given] = {}
    for key, value in values.items():
        option = options.get(key) or options.get(key.replace("_", "-"))
        if option is None or key.replace("_", "-") in NOT_IN_FILES:
            hint = _nearest(key, [one for one in options if one not in NOT_IN_FILES])
            fix = hint or f"sea {name} --help lists the options"
            raise UsageError(f'{path}: no option "{key}" in `sea {name}`', fix=fix)
        takes_many = _takes_many(option)
        if isinstance(value, dict) or (isinstance(value, list) and not takes_many):
            raise UsageError(f'{path}: "{key}" takes one value')
        found[option.name] = Given([value] if takes_many and not isinstance(value, list) else value, path)
    return found


def _takes_many(option: Any) -> bool:
    return bool(getattr(option, "multiple", False)) or option.nargs != 1


def _environment(
    name: str, options: Mapping[str, Any], parts: Collection[str], environ: Mapping[str, str]
) -> dict[str, Given]:
    known = {
        _upper(key): option
        for key, option in options.items()
        if option.opts[0].startswith("-") and key not in NOT_IN_FILES
    }
    prefix = f"SEA_{_upper(name)}_"
    own = {key: text for key, text in environ.items() if key.startswith(prefix) and text}
    common = {f"SEA_{_upper(key)}": _upper(key) for key in COMMON}
    found: dict[str, Given] = {}
    for variable, key in common.items():
        if environ.get(variable) and key in known:
            found[known[key].name] = Given(_from_text(known[key], environ[variable], variable), variable)
    for variable, text in sorted(own.items()):
        key = variable[len(prefix) :]
        if key in known:
            found[known[key].name] = Given(_from_text(known[key], text, variable), variable)
        elif not any(key.startswith(f"{_upper(part)}_") for part in parts):
            close = _nearest(key, list(known))
            hint = close.replace("mean ", f"mean {prefix}") if close else f"sea {name} --help lists the options"
            sys.stderr.write(f"warning: {variable} is set, but sea {name} has no such option ({hint})\n")
    return found


def _upper(text: str) -> str:
    return text.upper().replace("-", "_").replace(" ", "_")


def _from_text(option: Any, text: str, variable: str) -> Any:
    """A variable's value; of an option that may be repeated a list: `a,b`, or `["a,b", "c"]` where commas are meant."""
    if not _takes_many(option):
        return text
    if not text.lstrip().startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    from seatools.streams.parsed import parse_json

    try:
        values = parse_json(text)
    except ValueError as error:
        raise UsageError(f"{variable}: not a list: {error}", fix='a,b or ["a,b", "c"]') from None
    if not all(isinstance(value, str | int | float) for value in values):
        raise UsageError(f"{variable}: not a list of plain values", fix='a,b or ["a,b", "c"]')
    return values
