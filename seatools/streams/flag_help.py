"""The text of `sea CMD --help`: examples first, then usage, details, arguments and options in groups.

Written out here and not by typer, whose own (without rich) knows no groups and builds every option as an object
first. Fits the terminal between 50 and 100 columns; a longer example is broken with a backslash, so it still runs as
printed.
"""

from __future__ import annotations

import re
import shutil
import textwrap

from seatools.streams.flag_definitions import Definition, Parameter

_COLUMN = 26


def help_text(definition: Definition, width: int | None = None) -> str:
    """The help of one command for a terminal `width` columns wide (default: this terminal's)."""
    width = max(50, min(width or shutil.get_terminal_size().columns, 100))
    blocks = [_filled(f"sea {definition.name}: {definition.summary[:1].lower()}{definition.summary[1:]}", width)]
    if definition.examples:
        blocks.append("\n".join(["examples:", *(broken(example, width) for example in definition.examples)]))
    blocks.append(f"usage: {_filled(definition.usage, width - 7, after=' ' * 11)}")
    blocks += [detail if "\n" in detail else _filled(detail, width) for detail in definition.details]
    if definition.arguments:
        rows = [_row(item.metavar, item, width) for item in definition.arguments]
        blocks.append("\n".join(["Arguments:", *rows]))
    for heading, options in definition.groups().items():
        title = "Common options" if heading == "Common" else heading
        blocks.append("\n".join([f"{title}:", *(_row(spelled(option), option, width) for option in options)]))
    return "\n\n".join(blocks) + "\n"


def spelled(option: Parameter) -> str:
    """`-o, --output OUT`; a pair of switches as `--chat/--no-chat`."""
    pair = len(option.names) == 2 and option.names[1] == f"--no-{option.names[0][2:]}"
    names = ("/" if pair else ", ").join(option.names)
    return f"{names} {option.metavar}".rstrip()


def broken(example: str, width: int) -> str:
    """An example indented by two, in lines of at most `width` if its words allow it, all but the last with a `\\`."""
    if len(example) + 2 <= width:
        return f"  {example}"
    if commented := re.fullmatch(r"(.+?)\s+# (.+)", example):  # what it is for goes before it
        return f"  # {commented[2]}\n{broken(commented[1], width)}"
    lines = _split(example, width - 4)
    return "  " + " \\\n      ".join(lines)


def _split(example: str, width: int) -> list[str]:
    """A command line in lines; neither what stands in quotes, nor an option and its value, nor `| jq .value` and its
    like are parted."""
    parts: list[str] = []
    quote, together, piped = "", False, False
    for word in example.split(" "):
        if quote or (together and not word.startswith("-")):
            parts[-1] += f" {word}"
        else:
            parts.append(word)
        together = not quote and (word.startswith("-") or word == "|" or piped)
        piped = word == "|"
        for letter in word:
            if letter in "'\"" and quote in ("", letter):
                quote = "" if quote else letter
    lines = [parts[0]]
    for part in parts[1:]:
        if len(lines[-1]) + 1 + len(part) > width - (4 if len(lines) > 1 else 0):
            lines.append(part)
        else:
            lines[-1] += f" {part}"
    return lines


def _row(left: str, item: Parameter, width: int) -> str:
    """One entry: what is typed on the left, its help beside it, or beneath it where the left is long."""
    help_lines = _filled(item.told, width - _COLUMN).split("\n")
    first = f"  {left}"
    if len(first) < _COLUMN - 1:
        head = [f"{first:<{_COLUMN}}{help_lines[0]}"]
    else:
        head = [*_parted(first, width), " " * _COLUMN + help_lines[0]]
    return "\n".join([*head, *(" " * _COLUMN + line for line in help_lines[1:])]).rstrip()


def _parted(text: str, width: int) -> list[str]:
    """`  --name a|b|c` in lines, parted after a `|`."""
    lines = [""]
    for piece in re.findall(r"[^|]*\|?", text):
        if len(lines[-1]) + len(piece) > width and lines[-1]:
            lines.append(" " * 6)
        lines[-1] += piece
    return lines


def _filled(text: str, width: int, after: str = "") -> str:
    return textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False, subsequent_indent=after)
