"""The report for people: a row a language and tokenizer, so that tokenizers stand one under another; or, without text,
a column a tokenizer. Columns that do not fit the terminal go on in a second table below."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from seatools.streams.sizes import human_count

HEADS = {
    "docs": "docs",
    "tokens": "tokens",
    "bytes_per_token": "bytes\n/token",
    "tokens_per_character": "tokens\n/char",
    "tokens_per_cluster": "tokens\n/clus-\nter",
    "fertility": "tokens\n/word",
    "tokens_per_segmented_word": "tokens\n/seg.\nword",
    "tokens_per_syllable": "tokens\n/sylla-\nble",
    "parity": "parity",
    "drift": "drift",
    "token_change": "token\nchange",
    "single_token_words": "whole\nwords",
    "single_token_segmented_words": "whole\nseg.\nwords",
    "continued_word_rate": "inside\nword",
    "renyi_efficiency": "Renyi\neff.",
    "unk_rate": "UNK",
    "byte_fallback_rate": "byte\npieces",
    "incomplete_rate": "cut\nchars",
    "round_trip_failures": "round\ntrip\nfails",
    "language_match": "lang.\nmatch",
    "context_share": "con-\ntext",
    "context_characters": "chars\nfit",
    "context_words": "words\nfit",
    "price": "USD",
    "price_per_million_characters": "USD\n/Mchar",
}
_COUNTS = ("docs", "tokens", "context_characters", "context_words")
_SHARES = (
    "drift", "token_change", "single_token_words", "single_token_segmented_words", "continued_word_rate", "unk_rate",
    "byte_fallback_rate", "incomplete_rate", "round_trip_failures", "language_match", "context_share",
)  # fmt: skip
SCRIPT_ROWS = {"script_tokens": "{} tokens", "script_dormant_tokens": "{} tokens, dormant"}


def print_tables(records: Sequence[dict[str, Any]]) -> None:
    """Print score records to stdout."""
    if all(record["lang"] is None for record in records):
        _print_vocabularies(records)
    else:
        _print_texts(records)


def _print_vocabularies(records: Iterable[dict[str, Any]]) -> None:
    rows: dict[str, dict[str, float]] = {}
    models: dict[str, None] = {}
    for record in records:
        name = SCRIPT_ROWS.get(record["metric"], record["metric"]).format(record["config"].get("script"))
        rows.setdefault(name, {})[record["model"]] = record["value"]
        models[record["model"]] = None
    names = short_names(models)
    table, console = _table()
    table.add_column("")
    for model in models:
        table.add_column(names[model], justify="right")
    for name, values in rows.items():
        table.add_row(name, *(f"{values[model]:,.0f}" if model in values else "-" for model in models))
    console.print(table)


def _print_texts(records: Iterable[dict[str, Any]]) -> None:
    rows: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for record in records:
        rows.setdefault((record["lang"], record["model"]), {})[record["metric"]] = record
    langs = list(dict.fromkeys(lang for lang, _ in rows))
    ordered = sorted(rows, key=lambda row: langs.index(row[0]))
    names = short_names(dict.fromkeys(model for _, model in rows))
    columns = {
        metric: [cell(metric, rows[row].get(metric)) for row in ordered]
        for metric in HEADS
        if any(metric in row for row in rows.values())
    }
    table, console = _table()
    first = max(len("tokenizer"), *map(len, names.values())) + max(map(len, langs)) + 2
    for metrics in _fitting(columns, console.width - first):
        table, _ = _table()
        table.add_column("tokenizer", overflow="fold", min_width=len("tokenizer"))
        table.add_column("lang", no_wrap=True)
        for metric in metrics:
            table.add_column(HEADS[metric], justify="right", no_wrap=True)
        for number, (lang, model) in enumerate(ordered):
            table.add_row(names[model], lang, *(columns[metric][number] for metric in metrics))
        console.print(table)


def _table() -> tuple[Any, Any]:
    from rich.console import Console
    from rich.table import Table

    return Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold"), Console()


def _fitting(columns: Mapping[str, Sequence[str]], width: int) -> list[list[str]]:
    """The columns in groups that are no wider than `width`, at least four each."""
    groups: list[list[str]] = [[]]
    left = width
    for metric, cells in columns.items():
        needed = 1 + max(len(text) for text in (*cells, *HEADS[metric].split("\n")))
        if needed > left and len(groups[-1]) >= 4:
            groups.append([])
            left = width
        groups[-1].append(metric)
        left -= needed
    return groups


def cell(metric: str, record: Mapping[str, Any] | None) -> str:
    """A value as people read it."""
    if record is None:
        return "-"
    value = record["value"]
    if metric in _SHARES:
        return f"{value:.1%}" if value == 0 or abs(value) >= 0.001 else "<0.1%" if value > 0 else ">-0.1%"
    if metric in _COUNTS:
        return human_count(value)
    return f"{value:.2f}"


def short_names(models: Iterable[str]) -> dict[str, str]:
    """The last part of each path, where that tells them apart."""
    last = {model: os.path.basename(os.path.abspath(model)) for model in models}
    return last if len(set(last.values())) == len(last) else {model: model for model in last}
