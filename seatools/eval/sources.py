"""What `--data` and `--shots-data` name: records read once, whole, before any model is loaded.

Read once so that a pipe (`<(zcat ...)`, `-`) serves too, also when two tasks use it. The label of an argument is its
language; without one it is the `lang` of the records if all agree, else "und" (BCP 47: undetermined).
Memory: the evaluation text itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from seatools.streams.errors import SeaError
from seatools.streams.inputs import expand, parse_labelled, refuse_repeats, shown_together
from seatools.streams.records import Record, RecordReader, Rejects


@dataclass(frozen=True)
class Source:
    """One `--data` argument: its language and its records, at least one."""

    lang: str
    paths: tuple[str, ...]
    records: list[Record]

    @property
    def shown(self) -> str:
        return shown_together(self.paths)

    @property
    def first(self) -> dict[str, Any]:
        return self.records[0].value


@dataclass(frozen=True)
class Named:
    """An argument before it is read."""

    label: str | None
    paths: tuple[str, ...]


def name_sources(arguments: Sequence[str]) -> list[Named]:
    """Labels and files of the arguments; each must name at least one file."""
    named = []
    for argument in arguments:
        label, pattern = parse_labelled(argument)
        named.append(Named(label, tuple(expand(pattern))))
    return named


def all_paths(named: Sequence[Named]) -> list[str]:
    """Every file, in order. Raises UsageError for one that is named twice: its records would count twice."""
    paths = [path for item in named for path in item.paths]
    refuse_repeats(paths)
    return paths


def read_sources(
    named: Sequence[Named], spooled: dict[str, str], *, rejects: Rejects, limit: int | None
) -> list[Source]:
    """The records of each argument, at most `limit` of them; `spooled` says where stdin lies now."""
    sources = []
    for item in named:
        paths = tuple(spooled.get(path, path) for path in item.paths)
        records = list(RecordReader(list(paths), rejects=rejects, limit=limit))
        if not records:
            raise SeaError("no records", where=shown_together(paths))
        sources.append(Source(item.label or _common_lang(records), paths, records))
    return sources


def _common_lang(records: Sequence[Record]) -> str:
    langs = {record.value.get("lang") for record in records}
    lang = langs.pop()
    return lang if not langs and isinstance(lang, str) and lang else "und"
