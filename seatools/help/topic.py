"""`sea help` and `sea help TOPIC`: short texts on what is the same for all commands. Standard library only.

A topic is a file of plain text in topics/, its first line the title; adding a file adds a topic.
"""

from __future__ import annotations

import shutil
import textwrap
from pathlib import Path

from seatools.help.laid_out import folded

_LAID_OUT = ("* ", "1.", "2.", "3.", "sea ", "error:", "[", '{"')
_FOLDER = Path(__file__).parent / "topics"


def topics() -> dict[str, str]:
    """Name -> title, by name."""
    return {path.stem: _title(path) for path in sorted(_FOLDER.glob("*.txt"))}


def topic_text(name: str, width: int | None = None) -> str:
    """The text of a topic, its paragraphs filled to `width` columns (default: this terminal's, at most 100).

    Raises KeyError for a name that is none.
    """
    if name not in topics():
        raise KeyError(name)
    width = max(50, min(width or shutil.get_terminal_size().columns, 100))
    blocks = (_FOLDER / f"{name}.txt").read_text(encoding="utf-8").strip("\n").split("\n\n")
    return "\n\n".join(_filled(block, width) for block in blocks) + "\n"


def _filled(block: str, width: int) -> str:
    """A paragraph anew; what is laid out (a table, a list, commands) as it stands, if it fits."""
    lines = block.split("\n")
    margin = lines[0][: len(lines[0]) - len(lines[0].lstrip())]
    laid_out = any(
        line[: len(margin) + 1].strip() == "" or "  " in line.strip() or line.lstrip().startswith(_LAID_OUT)
        for line in lines
    )
    if laid_out or len(margin) > 3:
        return folded(block, width)
    text = " ".join(line.strip() for line in lines)
    return textwrap.fill(
        text, width, initial_indent=margin, subsequent_indent=margin, break_long_words=False, break_on_hyphens=False
    )


def overview(commands: dict[str, str]) -> str:
    """The text of `sea help`: commands (name -> its line) and topics."""
    known = topics()
    longest = max(len(name) for name in (*commands, *known))
    width = max(50, min(shutil.get_terminal_size().columns, 100))
    listed, about = (
        folded("\n".join(f"  {name:<{longest}}  {line}" for name, line in table.items()), width)
        for table in (commands, known)
    )
    return f"sea help COMMAND    (the same as sea COMMAND --help)\n{listed}\n\nsea help TOPIC\n{about}\n"


def _title(path: Path) -> str:
    with open(path, encoding="utf-8") as stream:
        return stream.readline().strip().removeprefix(f"{path.stem}: ")
