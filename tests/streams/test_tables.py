"""Tables: no value is cut at any width, and text is no markup."""

from __future__ import annotations

import io

import pytest
from rich.table import Table

from seatools.streams.tables import show_table

CELLS = [
    ("perplexity th", "34.8025\n7.1165", "-27.6860\n-27.9866 to -27.3925", "of a[/b] and :smile:"),
    ("belebele en", "", "+0.1", ""),
]


def _table() -> Table:
    table = Table()
    for header in ("task", "A\nB", "B - A\n95 %", "about it"):
        table.add_column(header)
    for cells in CELLS:
        table.add_row(*cells)
    return table


@pytest.mark.parametrize("width", [120, 74, 60, 40, 20])
def test_every_value_is_whole_at_every_width(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """rich alone writes `-27.9866 to...`, and leaves columns out, where the terminal is narrow."""
    monkeypatch.setenv("COLUMNS", str(width))
    stream = io.StringIO()
    show_table(_table(), stream, title="A: a/folder/with/a/long/name[1]")
    said = stream.getvalue()
    assert "…" not in said
    assert "A: a/folder/with/a/long/name[1]\n" in said
    for cell in (cell for cells in CELLS for cell in cells):
        assert all(line in said for line in cell.split("\n"))
    if width in (120, 74):
        assert max(len(line) for line in said.splitlines()) <= width


def test_a_narrow_terminal_gets_a_line_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two lines of a cell go by the two of the heading; what is empty is left out; prose is filled."""
    monkeypatch.setenv("COLUMNS", "30")
    stream = io.StringIO()
    table = _table()
    table.columns[3]._cells[0] = "running text, in lines between words"
    show_table(table, stream, prose=["about it"])
    assert stream.getvalue() == (
        "perplexity th\n  A      34.8025\n  B      7.1165\n  B - A  -27.6860\n  95 %   -27.9866 to -27.3925\n"
        "  running text, in lines\n  between words\n\nbelebele en\n  B - A 95 %  +0.1\n"
    )


def test_prose_gives_way_before_the_table_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    table = Table()
    table.add_column("task")
    table.add_column("what it is")
    table.add_row("belebele", "A passage, a question, four options, one letter, and more of it.")
    stream = io.StringIO()
    show_table(table, stream, prose=["what it is"])
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("┏") and {len(line) for line in lines} == {50}
