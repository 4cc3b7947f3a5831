"""The report for people: one row a tokenizer and language, or one column a tokenizer's vocabulary."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from seatools.streams.sizes import human_count

_HEADS = {
    "docs": "docs",
    "tokens": "tokens",
    "bytes_per_token": "bytes\n/token",
    "tokens_per_character": "tokens\n/char",
    "fertility": "tokens\n/word",
    "parity": "parity",
    "unk_rate": "UNK",
    "byte_fallback_rate": "byte\npieces",
    "round_trip_failures": "round\ntrip\nfails",
}
_COUNTS = ("docs", "tokens")
_SHARES = ("unk_rate", "byte_fallback_rate", "round_trip_failures")


def print_tables(records: Sequence[dict[str, Any]]) -> None:
    """Print score records to stdout."""
    from rich.console import Console
    from rich.table import Table

    rows: dict[tuple[str, str], dict[str, float]] = {}
    for record in records:
        name = record["config"].get("script") or record["metric"]
        rows.setdefault((record["model"], record["lang"] or ""), {})[name] = record["value"]
    names = _short({model for model, _ in rows})
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    if all(lang == "" for _, lang in rows):
        table.add_column("")
        for model, _ in rows:
            table.add_column(names[model], justify="right")
        metrics = list(dict.fromkeys(metric for values in rows.values() for metric in values))
        for metric in metrics:
            table.add_row(metric, *(f"{values.get(metric, 0):,.0f}" for values in rows.values()))
    else:
        heads = [metric for metric in _HEADS if any(metric in values for values in rows.values())]
        table.add_column("tokenizer", overflow="fold")
        table.add_column("lang", no_wrap=True)
        for metric in heads:
            table.add_column(_HEADS[metric], justify="right", no_wrap=True)
        for (model, lang), values in rows.items():
            table.add_row(names[model], lang, *(_cell(metric, values.get(metric)) for metric in heads))
    Console().print(table)


def _cell(metric: str, value: float | None) -> str:
    if value is None:
        return "-"
    if metric in _SHARES:
        return f"{value:.1%}" if value == 0 or value >= 0.001 else "<0.1%"
    if metric in _COUNTS:
        return human_count(value)
    return f"{value:.2f}"


def _short(models: set[str]) -> dict[str, str]:
    """The last part of each path, where that tells them apart."""
    last = {model: os.path.basename(os.path.abspath(model)) for model in models}
    return last if len(set(last.values())) == len(models) else {model: model for model in models}
