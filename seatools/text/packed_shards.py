"""Several packed-data files, in order, as one: the shards that `sea mix --shard-size` or `--shard I/N` wrote.

Rows keep their files; row i of the whole is found by one binary search (about 1 us), and every file is mapped on its
own, so nothing is copied and no array spans two of them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from seatools.streams.errors import SeaError
from seatools.streams.tensors import read_header
from seatools.text.packed import PackedData, read_packed

if TYPE_CHECKING:
    from collections.abc import Mapping

PART_NAME = "part-{:05}"
_ALIKE = {"tokenizer_digest": "the tokenizer", "row_length": "rows of", "sources": "the sources"}


@dataclass(frozen=True)
class PackedShards:
    """Packed data in several files (at least one), with the rows of all of them counted on."""

    shards: Sequence[PackedData]
    starts: np.ndarray  # [shards + 1] int64, the first row of each, and the number of rows

    @property
    def path(self) -> str:
        """For messages: the first file and how many follow."""
        more = len(self.shards) - 1
        return self.shards[0].path + (f" and {more} more" if more else "")

    @property
    def metadata(self) -> Mapping[str, str]:
        """Of the first file; what rows depend on is the same in all."""
        return self.shards[0].metadata

    @property
    def num_rows(self) -> int:
        return int(self.starts[-1])

    @property
    def num_tokens(self) -> int:
        return sum(shard.num_tokens for shard in self.shards)

    @property
    def num_targets(self) -> int:
        return sum(shard.num_targets for shard in self.shards)

    @property
    def row_length(self) -> int:
        return self.shards[0].row_length

    @property
    def sources(self) -> list[str]:
        return self.shards[0].sources

    def row(self, i: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """(ids uint32 [n], loss_mask uint8 [n]) of each document in row i, as views into its file."""
        shard, row = self._place(i)
        return shard.row(row)

    def row_lens(self, i: int) -> np.ndarray:
        """The lengths of the documents in row i, uint32 [documents]."""
        shard, row = self._place(i)
        return shard.row_lens(row)

    def row_sources(self, i: int) -> np.ndarray:
        """The source of each document in row i, uint16 [documents]."""
        shard, row = self._place(i)
        return shard.row_sources(row)

    def check_tokenizer(self, digest: str) -> None:
        """Raise SeaError, with both digests, unless the data was made with the tokenizer of this digest."""
        self.shards[0].check_tokenizer(digest)

    def digest(self) -> str:
        """sha256 over the files' sha256 in order; of a single file its own."""
        digests = [shard.digest() for shard in self.shards]
        return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()

    def _place(self, i: int) -> tuple[PackedData, int]:
        if not 0 <= i < self.num_rows:
            raise IndexError(f"row {i} of {self.num_rows}")
        shard = int(np.searchsorted(self.starts, i, side="right")) - 1
        return self.shards[shard], i - int(self.starts[shard])


def read_packed_files(paths: Sequence[str | Path]) -> PackedData | PackedShards:
    """Map packed files in this order. Raises SeaError, naming both files, unless tokenizer, row length and sources are
    the same in all of them."""
    shards = [read_packed(path) for path in paths]
    if not shards:
        raise SeaError("no packed file", fix="name the file or the folder that `sea mix --pack` wrote")
    first = shards[0]
    for shard in shards[1:]:
        for key, name in _ALIKE.items():
            one, other = first.metadata[key], shard.metadata[key]
            if one != other:
                raise SeaError(
                    f"{first.path} was packed with {name} {one}, {shard.path} with {name} {other}",
                    fix="give the shards of one mix",
                )
    if len(shards) == 1:
        return first
    return PackedShards(shards, np.cumsum([0, *(shard.num_rows for shard in shards)]))


def part_note(number: int, total: int) -> dict[str, str]:
    """What the metadata of part `number` (from 0) of `total` in a folder says of it, so that a missing one is seen."""
    return {"part": str(number), "parts": str(total)}


def shard_paths(folder: str | Path) -> list[str]:
    """The packed files part-00000.safetensors, ... of a folder in order; [] if it holds none.

    Raises SeaError unless they are all the parts of one folder that `sea mix --shard-size` wrote.
    """
    found = sorted(Path(folder).glob("part-*.safetensors"), key=lambda path: (len(path.name), path.name))
    notes = [read_header(path)[1] for path in found]
    for path, note in zip(found, notes, strict=True):
        part, parts = note.get("part", ""), note.get("parts", "")
        again = "fetch or make the folder again"
        if not (re.fullmatch("[0-9]{1,9}", part) and re.fullmatch("[0-9]{1,9}", parts)):
            fix = "name the files, or make the folder with sea mix --shard-size"
            raise SeaError(f"{path}: it does not say which of how many parts it is", fix=fix)
        if parts != notes[0]["parts"]:
            what = f"{found[0]} is one of {notes[0]['parts']} parts, {path} one of {parts}"
            raise SeaError(f"two mixes in one folder: {what}", fix=again)
        if path.name != f"{PART_NAME.format(int(part))}.safetensors":
            raise SeaError(f"{path}: this is part {part} of {parts} under another name", fix=again)
    if found and len(found) != int(notes[0]["parts"]):
        numbers = {int(note["part"]) for note in notes}
        missing = next(number for number in range(len(found) + 1) if number not in numbers)
        path = Path(folder) / f"{PART_NAME.format(missing)}.safetensors"
        total = int(notes[0]["parts"])
        raise SeaError(f"{path} is missing: {len(found):,} of {total:,} packed parts are there", fix=again)
    return [str(path) for path in found]
