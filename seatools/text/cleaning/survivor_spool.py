"""Documents that wait until all are read: their lines in one unnamed private file, where they stood in memory.

The file is gone when the process ends, however it ends. Memory: 25 bytes a document.
"""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
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
        self._changed = bytearray()
        self._names: dict[tuple[str, str], int] = {}  # (source, path) -> place
        self._sources: list[str] = []  # of each place
        self._paths: list[str] = []
        self._tags: dict[str, int] = {}
        self._runs: dict[str, list[range]] = {}  # source -> its documents

    def __len__(self) -> int:
        return len(self._starts)

    def add(self, record: Record, lang: str | None, source: str, *, is_changed: bool = False) -> None:
        """A further document; `lang` is its language, None if nothing is known of it; `is_changed`: its line has other
        bytes than it came with."""
        number = len(self)
        place = self._names.setdefault((source, record.path), len(self._names))
        if place == len(self._sources):
            self._sources.append(source)
            self._paths.append(record.path)
        runs = self._runs.setdefault(source, [])
        if runs and runs[-1].stop == number:
            runs[-1] = range(runs[-1].start, number + 1)
        else:
            runs.append(range(number, number + 1))
        self._starts.append(self._size)
        self._lines.append(record.line)
        self._places.append(place)
        self._langs.append(self._tags.setdefault(lang or "und", len(self._tags)))
        self._changed.append(is_changed)
        self._file.write(record.raw)
        self._size += len(record.raw)

    def runs(self, source: str) -> list[range]:
        """The numbers of the documents of a source, a range for each stretch in which they were added."""
        return self._runs.get(source, [])

    def source(self, number: int) -> str:
        """The source of a document."""
        return self._sources[self._places[number]]

    @property
    def tags(self) -> list[str]:
        """The languages of the documents, "und" where nothing is known."""
        return list(self._tags)

    def tag_numbers(self) -> np.ndarray:
        """[docs] uint32: which of `tags` each document has."""
        return np.array(self._langs, np.uint32)

    def changed(self) -> np.ndarray:
        """[docs] bool: `is_changed` of each."""
        return np.array(self._changed, np.uint8).astype(bool)

    def close(self) -> None:
        self._file.close()

    def record(self, number: int) -> Record:
        """A document."""
        start = self._starts[number]
        end = self._starts[number + 1] if number + 1 < len(self) else self._size
        self._file.seek(start)
        raw = self._file.read(end - start)
        return Record(raw, orjson.loads(raw), self._paths[self._places[number]], self._lines[number])

    def records(self, numbers: np.ndarray) -> Iterator[Record]:
        """Documents [n] by number. Reading from two iterators at once is fine."""
        for number in numbers:
            yield self.record(int(number))
