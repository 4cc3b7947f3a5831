"""Tables, lists and commands of a help topic in a terminal that is narrower than they are.

What fits stays as it was typed. Of the rest an entry's text goes on under its own column, or below its name where no
column is left, and a command is broken with backslashes, so that it still runs as printed.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass

from seatools.streams.flag_help import broken

_LEAST = 24
"""Columns of text beside a name; with fewer it stands below."""
_COMMAND = re.compile(r"(?:sea|seq|set) ")
_MARKER = re.compile(r"(?:\*|\d\.) ")
_GAP = re.compile(r" {2,}")


@dataclass
class _Entry:
    lines: list[str]  # as typed; [] of a part of a line that is too long
    margin: int
    name: str
    text: str
    hang: int  # the column of the text

    def grow(self, line: str) -> None:
        self.lines.append(line)
        self.text += " " + line.strip()


def folded(block: str, width: int) -> str:
    """The lines of `block`, those that are longer than `width` in several."""
    entries: list[_Entry] = []
    for line in block.split("\n"):
        indent = len(line) - len(line.lstrip())
        if entries and _goes_on(entries[-1], indent):
            entries[-1].grow(line)
        else:
            entries += _entries(line, indent, width)
    return "\n".join(_shown(entry, width) for entry in entries)


def _goes_on(entry: _Entry, indent: int) -> bool:
    return entry.hang > entry.margin and indent == entry.hang and not _COMMAND.match(entry.name)


def _entries(line: str, indent: int, width: int) -> list[_Entry]:
    text = line.strip()
    marker = _MARKER.match(text)
    cells = re.split(r" {3,}" if marker else _GAP, text)
    if len(cells) == 4 and len(line) > width:  # two entries in a line
        return [_Entry([], indent, cells[at], cells[at + 1], indent + text.index(cells[1])) for at in (0, 2)]
    if len(cells) > 1:
        return [_Entry([line], indent, cells[0], text[len(cells[0]) :].lstrip(), indent + text.index(cells[1]))]
    if marker:
        return [_Entry([line], indent, "", text, indent + marker.end())]
    return [_Entry([line], indent, "", text, indent)]


def _shown(entry: _Entry, width: int) -> str:
    if entry.lines and max(map(len, entry.lines)) <= width:
        return "\n".join(entry.lines)
    margin = " " * entry.margin
    if _COMMAND.match(entry.name or entry.text):
        more = " " * max(entry.margin - 2, 0)
        command = "\n".join(more + line for line in broken(entry.name or entry.text, width - len(more)).split("\n"))
        remark = f"{margin}# "
        return f"{_filled(entry.text, width, remark, remark)}\n{command}" if entry.name else command
    if not entry.name:
        after = entry.margin + 2 if entry.hang == entry.margin <= 4 else entry.hang
        return _filled(entry.text, width, margin, " " * after)
    if width - entry.hang >= _LEAST and len(entry.name) < entry.hang - entry.margin:
        return _filled(entry.text, width, f"{margin}{entry.name}".ljust(entry.hang), " " * entry.hang)
    below = margin + " " * 4
    return f"{margin}{entry.name}\n{_filled(entry.text, width, below, below)}"


def _filled(text: str, width: int, first: str, after: str) -> str:
    return textwrap.fill(
        text, width, initial_indent=first, subsequent_indent=after, break_long_words=False, break_on_hyphens=False
    )
