"""Write completions/sea.bash, _sea and sea.fish from the commands' own definitions of their flags.

make completions            (a test checks that the committed files are what this writes)
"""

from __future__ import annotations

import enum
import importlib
import sys
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seatools.cli import COMMANDS

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Flag:
    """One option: its spellings, whether it takes a value, the fixed choices of that value, its help."""

    names: tuple[str, ...]
    takes_value: bool
    choices: tuple[str, ...]
    help: str


def flags(command: str) -> list[Flag]:
    """The options of one command, from the annotations of its function (typer's own objects differ by version)."""
    module: Any = importlib.import_module(COMMANDS[command][0])
    callback = module.app.registered_commands[0].callback
    found = []
    for hint in typing.get_type_hints(callback, include_extras=True).values():
        info = next((item for item in getattr(hint, "__metadata__", ()) if hasattr(item, "param_decls")), None)
        first = getattr(info, "default", None)  # inside Annotated, typer.Option takes its first name as the default
        declared = ([first] if isinstance(first, str) else []) + list(getattr(info, "param_decls", None) or ())
        names = tuple(name for text in declared for name in text.split("/"))
        if info is None or not names or not names[0].startswith("-"):
            continue
        kinds = {kind for kind in (hint.__origin__, *typing.get_args(hint.__origin__)) if isinstance(kind, type)}
        choices = tuple(str(item.value) for kind in kinds if issubclass(kind, enum.Enum) for item in kind)
        metavar = info.metavar or ""
        if not choices and "|" in metavar and "[" not in metavar and metavar == metavar.lower():
            choices = tuple(metavar.split("|"))
        plain = bool in kinds or info.count
        found.append(Flag(names, not plain, choices, info.help or ""))
    return [*found, Flag(("-h", "--help"), False, (), "show help")]


def bash(table: dict[str, list[Flag]]) -> str:
    """A bash completion script."""
    cases = []
    for command, options in table.items():
        words = " ".join(name for flag in options for name in flag.names)
        values = "".join(
            f"                {'|'.join(flag.names)}) "
            f'COMPREPLY=($(compgen -W "{" ".join(flag.choices)}" -- "$cur")); return ;;\n'
            for flag in options
            if flag.choices
        )
        inner = f"            case $prev in\n{values}            esac\n" if values else ""
        cases.append(f'        {command})\n{inner}            words="{words}" ;;\n')
    return (
        "# bash completion for sea; made by completions/generate.py\n"
        "_sea() {\n"
        "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words=\n"
        "    COMPREPLY=()\n"
        "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
        f"        COMPREPLY=($(compgen -W \"{' '.join(table)} --help --version\" -- \"$cur\"))\n"
        "        return\n"
        "    fi\n"
        "    case ${COMP_WORDS[1]} in\n" + "".join(cases) + "    esac\n"
        "    case $cur in\n"
        "        -*) COMPREPLY=($(compgen -W \"$words\" -- \"$cur\")) ;;\n"
        "        *) COMPREPLY=($(compgen -f -- \"$cur\")) ;;\n"
        "    esac\n"
        "}\n"
        "complete -o filenames -F _sea sea\n"
    )  # fmt: skip


def _quoted(text: str) -> str:
    return text.replace("'", "'\\''").replace("[", "(").replace("]", ")").replace(":", " -")


def zsh(table: dict[str, list[Flag]]) -> str:
    """A zsh completion function."""
    names = "\n".join(f"        '{name}:{_quoted(COMMANDS[name][1])}'" for name in table)
    cases = []
    for command, options in table.items():
        rows = []
        for flag in options:
            value = (
                f":value:({' '.join(flag.choices)})" if flag.choices else ":value:_files" if flag.takes_value else ""
            )
            rows.extend(f"                '{name}[{_quoted(flag.help)}]{value}'" for name in flag.names)
        body = " \\\n".join([*rows, "                '*:file:_files'"])
        cases.append(f"            {command})\n                _arguments \\\n{body} ;;\n")
    return (
        "#compdef sea\n# zsh completion for sea; made by completions/generate.py\n"
        "_sea() {\n    local -a commands\n    commands=(\n" + names + "\n    )\n"
        "    if (( CURRENT == 2 )); then\n        _describe command commands\n        return\n    fi\n"
        "    local command=$words[2]\n    shift words\n    (( CURRENT-- ))\n"
        "    case $command in\n" + "".join(cases) + "    esac\n}\n_sea \"$@\"\n"
    )  # fmt: skip


def fish(table: dict[str, list[Flag]]) -> str:
    """A fish completion script."""
    lines = ["# fish completion for sea; made by completions/generate.py"]
    for name in table:
        text = COMMANDS[name][1].replace("'", "\\'")
        lines.append(f"complete -c sea -n __fish_use_subcommand -a {name} -d '{text}'")
    for command, options in table.items():
        for flag in options:
            parts = [f"complete -c sea -n '__fish_seen_subcommand_from {command}'"]
            for name in flag.names:
                parts.append(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}")
            if flag.choices:
                parts.append(f"-x -a '{' '.join(flag.choices)}'")
            elif flag.takes_value:
                parts.append("-r")
            text = flag.help.replace("'", "\\'")
            lines.append(" ".join([*parts, f"-d '{text}'"]))
    return "\n".join(lines) + "\n"


def generated() -> dict[str, str]:
    """File name -> what it must hold."""
    table = {command: flags(command) for command in COMMANDS}
    return {"sea.bash": bash(table), "_sea": zsh(table), "sea.fish": fish(table)}


if __name__ == "__main__":
    for name, text in generated().items():
        (HERE / name).write_text(text, encoding="utf-8")
        sys.stderr.write(f"{HERE / name}\n")
