"""Scores for people: one row a figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def print_table(rows: Sequence[dict[str, Any]]) -> None:
    """Print score records on stdout as a table; a column for what was switched off only where something was."""
    from rich.table import Table

    from seatools.streams.tables import show_table

    off = any("deactivate" in row["config"] for row in rows)
    table = Table()
    for name in ["task", "lang", "metric", *(["without"] if off else [])]:
        table.add_column(name)
    for name in ["value", "stderr", "n"]:
        table.add_column(name, justify="right")
    for row in rows:
        without = [row["config"].get("deactivate", "")] if off else []
        stderr = "" if row["stderr"] is None else f"{row['stderr']:.4f}"
        table.add_row(row["task"], row["lang"], row["metric"], *without, f"{row['value']:.4f}", stderr, f"{row['n']:,}")
    show_table(table, title=rows[0]["model"] if rows else None, keys=4 if off else 3)
