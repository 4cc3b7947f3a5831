"""What a command takes, read from the annotations of its function: the one source of help, completions and man pages.

Annotations, not typer's or click's objects: those differ from version to version (typer 0.26 carries a click of its
own), and building them costs more than the whole of `--help` (typer 0.29 makes pydantic models of every option).
The docstring gives the summary (its first paragraph), the examples (a block that begins `examples:`) and the details.
"""

from __future__ import annotations

import enum
import inspect
import re
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seatools.streams.flag_choices import choices_of
from seatools.streams.flag_groups import group_of

_METAVARS = {int: "N", float: "X", Path: "PATH"}
_FILES = re.compile(
    r"\b(FILE|GLOB|DIR|OUT|MODEL|TOK|TOKENIZER|PATCH|STATS|NEURONS|NEW|BASE|SAMPLES|DATA|PROMPTS|RESPONSES|PREFS|PATH)\b"
)


@dataclass(frozen=True)
class Parameter:
    """One argument or option.

    `names`: spellings of an option, () of an argument. `metavar`: "" of a switch. `choices`: fixed words that the value
    may be (with `files`, paths too). `default`: as it is typed; None where there is none to tell.
    """

    names: tuple[str, ...]
    metavar: str
    help: str
    choices: tuple[str, ...]
    files: bool
    repeatable: bool
    required: bool
    default: str | None
    least: float | None
    group: str

    @property
    def told(self) -> str:
        """The help with what is in brackets after it: the default, the least value, whether it must be given."""
        notes = []
        if self.required:
            notes.append("required")
        elif self.default is not None and not self.help.endswith("]"):
            notes.append(f"default: {self.default}")
        if self.least is not None:
            notes.append(f"at least {self.least:g}")
        return self.help + (f" [{'; '.join(notes)}]" if notes else "")


@dataclass(frozen=True)
class Definition:
    """One command: `name` as typed after `sea`, its docstring in parts, its arguments and options."""

    name: str
    summary: str
    examples: tuple[str, ...]
    details: tuple[str, ...]
    arguments: tuple[Parameter, ...]
    options: tuple[Parameter, ...]

    @property
    def usage(self) -> str:
        """`sea CMD [OPTIONS] ARGUMENTS`."""
        words = (item.metavar if item.required else f"[{item.metavar.strip('[]')}]" for item in self.plain_arguments)
        return " ".join(["sea", self.name, "[OPTIONS]", *words])

    @property
    def plain_arguments(self) -> tuple[Parameter, ...]:
        """Arguments whose metavar is already bracketed count as required: it says itself what may be left out."""
        from dataclasses import replace

        return tuple(replace(item, required=item.required or "[" in item.metavar) for item in self.arguments)

    def groups(self) -> dict[str, list[Parameter]]:
        """Heading -> options, in the order of the headings."""
        from seatools.streams.flag_groups import HEADINGS

        found: dict[str, list[Parameter]] = {heading: [] for heading in HEADINGS}
        for option in self.options:
            found[option.group].append(option)
        return {heading: options for heading, options in found.items() if options}


def define(name: str, callback: Callable[..., Any]) -> Definition:
    """The definition of `sea NAME`, whose function with typer's annotations is `callback`."""
    signature = inspect.signature(callback).parameters
    arguments: list[Parameter] = []
    options: list[Parameter] = []
    for parameter, hint in typing.get_type_hints(callback, include_extras=True).items():
        info = next((item for item in getattr(hint, "__metadata__", ()) if hasattr(item, "param_decls")), None)
        if info is None:  # the context, the return value
            continue
        first = info.default  # inside Annotated, typer.Option takes its first name as the default
        declared = ([first] if isinstance(first, str) else []) + list(info.param_decls or ())
        names = tuple(sorted((name for text in declared for name in text.split("/")), key=_short_first))
        defined = _parameter(name, names, hint.__origin__, info, signature[parameter].default)
        (options if names else arguments).append(defined)
    writes = any("--output" in option.names for option in options)
    shared = (*_WRITING, *_EVERYWHERE) if writes else _EVERYWHERE
    added = [item for item in shared if not any(item.names == other.names for other in options)]
    help_option = Parameter(("-h", "--help"), "", "show this text", (), False, False, False, None, None, "Common")
    summary, examples, details = _docstring(callback.__doc__ or "")
    return Definition(name, summary, examples, details, tuple(arguments), (*options, *added, help_option))


# What `run_app` adds to every command (streams/flags.py).
_EVERYWHERE = (
    Parameter(
        ("--color",), "auto|always|never", "colours: on a terminal, always, never", ("auto", "always", "never"),
        False, False, False, "auto", None, "Common",
    ),
    Parameter(
        ("--print-config",), "", "print all options, and whence each is; do no more",
        (), False, False, False, None, None, "Common",
    ),
    Parameter(("--config",), "FILE.toml", "defaults for these options", (), True, False, False, None, None, "Common"),
)  # fmt: skip


_WRITING = (
    Parameter(
        ("--skip-existing",), "", "do nothing if OUT and its manifest are there",
        (), False, False, False, None, None, "Output",
    ),
    Parameter(
        ("--depfile",), "FILE.d", "a Make rule of OUT and what it was made from",
        (), True, False, False, None, None, "Output",
    ),
)  # fmt: skip


def _short_first(name: str) -> bool:
    return name.startswith("--")


def _parameter(command: str, names: tuple[str, ...], kind: Any, info: Any, default: Any) -> Parameter:
    kinds = {inner for inner in (kind, *typing.get_args(kind)) if isinstance(inner, type)}
    kinds |= {inner for outer in typing.get_args(kind) for inner in typing.get_args(outer) if isinstance(inner, type)}
    counted = bool(getattr(info, "count", False))
    switch = bool in kinds or counted
    enums = [inner for inner in kinds if issubclass(inner, enum.Enum)]
    choices = tuple(str(item.value) for inner in enums for item in inner)
    metavar = "" if switch else info.metavar or "|".join(choices)
    if not metavar and not switch:
        metavar = next((text for inner, text in _METAVARS.items() if inner in kinds), "TEXT")
    choices = choices or choices_of(metavar).words
    required = default is inspect.Parameter.empty or default is ...
    return Parameter(
        names=names, metavar=metavar, help=info.help or "", choices=choices,
        files=not switch and (Path in kinds or not names or _FILES.search(metavar) is not None),
        repeatable=any(typing.get_origin(inner) is list for inner in (kind, *typing.get_args(kind))),
        required=required, default=None if required or counted else _typed(default, names),
        least=info.min if info.min else None, group=group_of(command, names[-1] if names else ""),
    )  # fmt: skip


def _typed(default: Any, names: tuple[str, ...]) -> str | None:
    """A default as it would be typed; None of what says nothing: no value, a switch that is off, an empty list."""
    if default is None or default is False or default in ("", (), []):
        return None
    if default is True:
        return next(name for name in names if name.startswith("--"))
    if isinstance(default, enum.Enum):
        return str(default.value)
    if isinstance(default, float):
        return f"{default:g}"
    return str(default)


def _docstring(text: str) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    r"""(summary, examples, details); a block after `\b` keeps its lines."""
    summary, examples, details = "", [], []
    for block in inspect.cleandoc(text).split("\n\n"):
        kept = block.startswith("\b")
        lines = block.lstrip("\b").strip("\n").split("\n")
        if lines[0].strip() == "examples:":
            examples += [line.strip() for line in lines[1:]]
        elif not summary:
            summary = " ".join(lines)
        else:
            details.append("\n".join(lines) if kept else " ".join(lines))
    return summary, tuple(examples), tuple(details)
