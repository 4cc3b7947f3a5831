"""Write completions/sea.bash, _sea and sea.fish from the commands' own definitions of their flags.

make completions            (a test checks that the committed files are what this writes)

All three complete commands, their parts, `sea help`'s topics, options, fixed choices, languages where one goes,
evaluation tasks, and paths where a path goes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from seatools.cli import COMMANDS
from seatools.eval.task_file import builtin_names
from seatools.help.definitions import definitions, parts_of
from seatools.help.topic import topics
from seatools.streams.flag_definitions import Definition, Parameter
from seatools.text.scripts import known_languages

HERE = Path(__file__).resolve().parent


def offered(item: Parameter) -> tuple[str, ...]:
    """Words that `item` may be; there may be others."""
    return item.choices or _NAMED.get(item.metavar.strip("[]."), tuple)()


_NAMED: dict[str, Callable[[], tuple[str, ...]]] = {
    "LANG": known_languages,
    "LANG,": known_languages,
    "TASK": builtin_names,
}


def named_arguments(command: Definition) -> tuple[str, ...]:
    """Words that one of its arguments may be, and that a path is not."""
    return tuple(word for item in command.arguments for word in offered(item))


def bash(table: dict[str, Definition]) -> str:
    """A bash completion script (bash 3.2 or later)."""
    cases = []
    for name, command in table.items():
        words = " ".join(spelling for option in command.options for spelling in option.names)
        values = "".join(
            f"                {'|'.join(option.names)})"
            f" _sea_value '{' '.join(offered(option))}' {int(option.files)} ;;\n"
            for option in command.options
            if option.metavar
        )
        parts, arguments = " ".join(parts_of(name, table)), " ".join(named_arguments(command))
        cases.append(
            f"        '{name}')\n            words='{words}' parts='{parts}' arguments='{arguments}'\n"
            + f"            case $before in\n{values}                *) return 1 ;;\n            esac ;;\n"
        )
    whole = "".join(f"        '{name}') path=$1\\ $2 ;;\n" for name in table if " " in name)
    return f"""\
# bash completion for sea; made by completions/generate.py

_sea_value() {{  # WORDS FILES: what may follow an option
    local IFS=$' \\n'
    COMPREPLY=($(compgen -W "$1" -- "$cur"))
    if [ "$2" = 1 ]; then _sea_files; fi
    return 0
}}

_sea_files() {{
    local IFS=$'\\n'
    COMPREPLY+=($(compgen -f -- "$cur"))
}}

_sea_option() {{  # COMMAND: sets words, parts and arguments; 1 if the word before takes no value
    case $1 in
{"".join(cases)}    esac
}}

_sea() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} words='' parts='' arguments='' path
    local IFS=$' \\n'
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W '{" ".join(COMMANDS)} help --help --version' -- "$cur"))
        return
    fi
    if [ "$cur" = = ]; then cur=''; elif [ "$before" = = ]; then before=${{COMP_WORDS[COMP_CWORD-2]}}; fi
    set -- "${{COMP_WORDS[1]}}" "${{COMP_WORDS[2]}}"
    path=$1
    if [ "$1" = help ]; then
        [ "$COMP_CWORD" -ne 2 ] || COMPREPLY=($(compgen -W '{" ".join([*COMMANDS, *topics()])}' -- "$cur"))
        return
    fi
    [ "$COMP_CWORD" -eq 2 ] || case "$1 $2" in
{whole}    esac
    if _sea_option "$path"; then return; fi
    case $cur in
        -*) COMPREPLY=($(compgen -W "$words" -- "$cur")) ;;
        *)
            [ "$COMP_CWORD" -eq 2 ] || parts=''
            COMPREPLY=($(compgen -W "$parts $arguments" -- "$cur"))
            _sea_files ;;
    esac
}}
complete -o filenames -F _sea sea
"""


def zsh(table: dict[str, Definition]) -> str:
    """A zsh completion function."""
    names = "\n".join(f"        '{name}:{_zsh_quoted(line)}'" for name, (_, line) in COMMANDS.items())
    about = "\n".join(f"        '{name}:{_zsh_quoted(title)}'" for name, title in topics().items())
    whole = "|".join(f"'{name}'" for name in table if " " in name)
    cases = []
    for name, command in table.items():
        rows = [row for option in command.options for row in _zsh_rows(option)]
        body = " \\\n".join([*rows, f"                '*:file:{_zsh_action(named_arguments(command), True)}'"])
        parts = "".join(f" '{part}:{_zsh_quoted(table[f'{name} {part}'].summary)}'" for part in parts_of(name, table))
        described = f"                parts=({parts.lstrip()})\n" if parts else ""
        described += "                (( CURRENT == 2 )) && _describe -t parts part parts\n" if parts else ""
        cases.append(f"            '{name}')\n{described}                _arguments \\\n{body} ;;\n")
    return f"""\
#compdef sea
# zsh completion for sea; made by completions/generate.py
_sea() {{
    local -a commands topics parts
    commands=(
{names}
        'help:of a command, or of what all share'
    )
    topics=(
{about}
    )
    if (( CURRENT == 2 )); then
        _describe command commands
        return
    fi
    if [[ $words[2] == help ]]; then
        if (( CURRENT == 3 )); then _describe command commands; _describe topic topics; fi
        return
    fi
    local name=$words[2]
    if (( CURRENT > 3 )); then
        case "$words[2] $words[3]" in
            {whole}) name="$words[2] $words[3]"; shift words; (( CURRENT-- )) ;;
        esac
    fi
    shift words
    (( CURRENT-- ))
    case $name in
{"".join(cases)}    esac
}}
if [ "$funcstack[1]" = _sea ]; then _sea "$@"; else compdef _sea sea; fi
"""


def _zsh_rows(option: Parameter) -> list[str]:
    value = ""
    if option.metavar:
        value = f":{_zsh_quoted(option.metavar)}:{_zsh_action(offered(option), option.files)}"
    star = "*" if option.repeatable else ""
    spelled = (
        name + ("=" if value and name.startswith("--") else "") for name in option.names
    )  # --name VALUE or =VALUE
    return [f"                '{star}{name}[{_zsh_quoted(option.help)}]{value}'" for name in spelled]


def _zsh_action(words: tuple[str, ...], files: bool) -> str:
    listed = f"({' '.join(words)})"
    if words and files:
        return f'_alternative "words\\:word\\:{listed}" "files\\:file\\:_files"'
    return listed if words else "_files" if files else " "


def _zsh_quoted(text: str) -> str:
    return text.replace("'", "'\\''").replace("[", "(").replace("]", ")").replace(":", " -").replace("`", "")


def fish(table: dict[str, Definition]) -> str:
    """A fish completion script."""
    parts = " ".join(f"'{name}'" for name in table if " " in name)
    lines = [
        "# fish completion for sea; made by completions/generate.py",
        "function __sea_path",
        "    set -l words (commandline -opc)",
        '    switch "$words[2] $words[3]"',
        f"        case {parts}",
        '            echo "$words[2] $words[3]"',
        "        case '*'",
        '            echo "$words[2]"',
        "    end",
        "end",
        "function __sea_is",
        "    set -l path (__sea_path)",
        '    test "$path" = "$argv[1]"',
        "end",
        "function __sea_at  # COMMAND N: its Nth word is being written",
        "    set -l words (commandline -opc)",
        '    test "$words[2]" = "$argv[1]"; and test (count $words) -eq $argv[2]',
        "end",
        "complete -c sea -n \"__sea_is ''\" -f",
        "complete -c sea -n '__sea_at help 2' -f",
    ]
    for name, (_, line) in COMMANDS.items():
        lines.append(f"complete -c sea -n \"__sea_is ''\" -a {name} -d '{_fish_quoted(line)}'")
        lines.append(f"complete -c sea -n '__sea_at help 2' -a {name} -d '{_fish_quoted(line)}'")
    lines.append("complete -c sea -n \"__sea_is ''\" -a help -d 'of a command, or of what all share'")
    for name, title in topics().items():
        lines.append(f"complete -c sea -n '__sea_at help 2' -a {name} -d '{_fish_quoted(title)}'")
    for name, command in table.items():
        for part in parts_of(name, table):
            summary = _fish_quoted(table[f"{name} {part}"].summary)
            lines.append(f"complete -c sea -n '__sea_at {name} 2' -a {part} -d '{summary}'")
        if words := named_arguments(command):
            lines.append(f"complete -c sea -n \"__sea_is '{name}'\" -a '{' '.join(words)}'")
        for option in command.options:
            spelled = [f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names]
            value = ""
            if words := offered(option):
                value = f" {'-r' if option.files else '-x'} -a '{' '.join(words)}'"
            elif option.metavar:
                value = " -r -F" if option.files else " -x"
            where = f"complete -c sea -n \"__sea_is '{name}'\""
            lines.append(f"{where} {' '.join(spelled)}{value} -d '{_fish_quoted(option.help)}'")
    return "\n".join(lines) + "\n"


def _fish_quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")


def generated() -> dict[str, str]:
    """File name -> what it must hold."""
    table = definitions()
    return {"sea.bash": bash(table), "_sea": zsh(table), "sea.fish": fish(table)}


if __name__ == "__main__":
    for name, text in generated().items():
        (HERE / name).write_text(text, encoding="utf-8")
        sys.stderr.write(f"{HERE / name}\n")
