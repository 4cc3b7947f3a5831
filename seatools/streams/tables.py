"""Tables for a terminal whose values are whole at any width.

rich cuts cells with an ellipsis, or drops columns, where a table is wider than the terminal: a figure that ends in `…`
is no figure. Such a table is drawn without its frame, and if that is too wide still, as blocks: a block a row, a line
a value. Text is printed as it is: a folder named `a[b]` is no markup.
"""

from __future__ import annotations

import textwrap
from collections.abc import Collection
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

LEAST_PROSE = 24
"""Columns of a terminal that running text needs."""


def show_table(
    table: Table, stream: IO[str] | None = None, *, title: str | None = None, keys: int = 1, prose: Collection[str] = ()
) -> None:
    """Print `table` to `stream` (default: stdout), below `title`, whose lines are not broken.

    `keys`: the first columns, which name a row. `prose`: headers of columns whose text may be broken between words.
    Headers and cells are strings; lines of a header name those of its cells, where there are as many.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console

    console = Console(file=stream, markup=False, emoji=False, highlight=False)
    if title is not None:
        console.print(title, soft_wrap=True)
    spare = 0
    for column in table.columns:
        column.no_wrap = column.header not in prose
        if not column.no_wrap:
            lengths = [_width(line) for cell in column.cells for line in str(cell).split("\n")]
            spare += max(0, max(lengths, default=0) - LEAST_PROSE)

    def fits() -> bool:
        needed = table.__rich_measure__(console, console.options.update(max_width=100_000)).maximum
        return needed - spare <= console.width

    if not fits():
        table.box, table.padding, table.pad_edge, table.show_edge = SIMPLE_HEAD, (0, 0), False, False
    if fits():
        console.print(table)
    else:
        console.print("\n\n".join(_blocks(table, keys, prose, console.width)), soft_wrap=True)


def _blocks(table: Table, keys: int, prose: Collection[str], width: int) -> list[str]:
    headers = [str(column.header) for column in table.columns]
    blocks = []
    for cells in zip(*(column.cells for column in table.columns), strict=True):
        head = " ".join(" ".join(str(cell).split("\n")) for cell in cells[:keys])
        rest = list(zip(headers[keys:], cells[keys:], strict=True))
        named = [pair for header, cell in rest if header not in prose for pair in _named(header, cell)]
        left = max((len(name) for name, _ in named), default=0)
        lines = [head, *(f"  {name:<{left}}  {value}" for name, value in named)]
        for header, cell in rest:
            if header in prose:
                lines += textwrap.wrap(str(cell), width, initial_indent="  ", subsequent_indent="  ")
        blocks.append("\n".join(lines))
    return blocks


def _named(header: str, cell: Any) -> list[tuple[str, str]]:
    """(name, value) of each line of a cell that says something."""
    values, names = str(cell).split("\n"), header.split("\n")
    if len(names) != len(values):  # a figure with its interval beneath, a heading in two lines
        names = [" ".join(names), *[""] * (len(values) - 1)]
    return [(name, value.strip()) for name, value in zip(names, values, strict=True) if value.strip()]


def _width(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)
