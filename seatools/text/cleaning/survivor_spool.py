"""Documents that wait until all are read: their lines in one unnamed private file, where they stood in memory.

The file is gone when the process ends, however it ends. Memory: 24 bytes a document.
"""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import orjson

from seatools.streams.records import Record


class SurvivorSpool:
    """Documents by number, from 0 in the order in which they were added."""

    def __init__(self, folder: Path | None = None) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(prefix="sea-clean-", dir=folder)  # noqa: SIM115 - lives as long
        self._size = 0
        self._starts = array("Q")
        self._lines = array("Q")
        self._places = array("I")
        self._langs = array("I")
        self._names: dict[tuple[str, str], int] = {}  # (source, path) -> place
        self._sources: list[str] = []  # of each place
        self._paths: list[str] = []
        self._tags: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._starts)

    def add(self, record: Record, lang: str | None, source: str) -> None:
        """A further document; `lang` is its language, None if nothing is known of it."""
        self._starts.append(self._size)
        self._lines.append(record.line)
        place = self._names.setdefault((source, record.path), len(self._names))
        if place == len(self._sources):
            self._sources.append(source)
            self._paths.append(record.path)
        self._places.append(place)
        self._langs.append(self._tags.setdefault(lang or "und", len(self._tags)))
        self._file.write(record.raw)
        self._size += len(record.raw)

    def records(self, source: str | None = None) -> Iterator[tuple[int, Record]]:
        """(number, document) of one source or of all, in order. Reading from two iterators at once is fine."""
        for number in range(len(self)):
            if source is None or self.source(number) == source:
                yield number, self.record(number)

    def source(self, number: int) -> str:
        """The source of a document."""
        return self._sources[self._places[number]]

    def langs(self) -> list[str]:
        """[docs] their languages, "und" where nothing is known."""
        tags = list(self._tags)
        return [tags[number] for number in self._langs]

    def close(self) -> None:
        self._file.close()

    def record(self, number: int) -> Record:
        """A document."""
        start = self._starts[number]
        end = self._starts[number + 1] if number + 1 < len(self) else self._size
        self._file.seek(start)
        raw = self._file.read(end - start)
        return Record(raw, orjson.loads(raw), self._paths[self._places[number]], self._lines[number])
