"""How much data a run would read: exactly, of packed files; by a sample, of records.

Of packed data only the small tensors are read (documents' lengths and sources), and the manifest of the mix says how
often a document stands in it. Of records the first 200 KB, dealt to the sources, are tokenised, and the rest is scaled
by bytes (measured on eight corpora of 0.1 to 6 MB in seven languages: within 4 %). How much a compressed file holds
cannot be known without reading it, so a run with one has no figure.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from seatools.engine.flops import mean_context
from seatools.streams.errors import SeaError
from seatools.streams.manifest import manifest_path
from seatools.streams.parsed import parse_json
from seatools.streams.records import Record, RecordReader, Rejects, check_training

if TYPE_CHECKING:
    from seatools.text.documents import Documents

SAMPLE_BYTES = 200_000
_PACKED_INTO = 0.98
"""Share of a row that documents fill (measured on the same corpora, rows of 512: 0.93 to 0.999)."""
_COMPRESSED = (".gz", ".zst", ".xz", ".bz2")


@dataclass(frozen=True)
class PlannedSource:
    """One source: what one pass over the data reads of it."""

    name: str
    documents: int
    tokens: int
    repeats: float = 1.0
    """How often a pass reads each document that the source had before it was mixed."""


@dataclass(frozen=True, kw_only=True)
class PlannedData:
    """The data of a run."""

    sources: tuple[PlannedSource, ...]
    rows: int
    row_length: int
    context: float
    """Mean length of the document that a token stands in."""
    target_share: float
    estimated: bool

    @property
    def tokens(self) -> int:
        """Of one pass."""
        return sum(source.tokens for source in self.sources)


def packed_data(paths: Sequence[Path]) -> PlannedData:
    """Of packed files. Errors: as `read_packed_files`."""
    from seatools.text.packed_shards import read_packed_files

    packed = read_packed_files(paths)
    count = len(packed.sources)
    documents, tokens = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    squares = 0.0
    for shard in packed.shards:
        documents += np.bincount(shard.source_id, minlength=count)
        tokens += np.bincount(shard.source_id, weights=shard.doc_lens, minlength=count).astype(np.int64)
        squares += float(np.square(shard.doc_lens.astype(np.float64)).sum())
    repeats = _repeats(paths[0])
    found = zip(packed.sources, documents.tolist(), tokens.tolist(), strict=True)
    return PlannedData(
        sources=tuple(PlannedSource(*source, repeats.get(source[0], 1.0)) for source in found),
        rows=packed.num_rows, row_length=packed.row_length,
        context=squares / max(packed.num_tokens, 1), target_share=packed.num_targets / max(packed.num_tokens, 1),
        estimated=False,
    )  # fmt: skip


def _repeats(packed: Path) -> dict[str, float]:
    """Epochs by source in packed data, by the manifest of the mix that made it; {} where there is none."""
    for output in (packed, packed.parent):  # a file, or a folder of shards
        try:
            counts = parse_json(manifest_path(output).read_bytes())["counts"]["sources"]
            return {str(row["source"]): float(row["epochs"]) for row in counts}
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return {}


def sampled_data(
    sources: Mapping[str, Sequence[str]], documents: Documents, *, row_length: int, sample_bytes: int = SAMPLE_BYTES
) -> PlannedData | None:
    """Of records in files by source, from a sample of about `sample_bytes` in all; None where a file is compressed."""
    if any(path.endswith(_COMPRESSED) for paths in sources.values() for path in paths):
        return None
    found, lengths, targets = [], [], 0
    for name, paths in sources.items():
        records = _first_records(paths, sample_bytes // len(sources))
        read = sum(map(_bytes_in_file, records))
        encoded = [doc for doc in documents.encode([r.value for r in records]) if not isinstance(doc, SeaError)]
        own = [len(doc.ids) for doc in encoded]
        size = sum(os.path.getsize(path) for path in paths)
        scale = size / read if read else 0.0
        found.append(PlannedSource(name, round(len(own) * scale), round(sum(own) * scale)))
        lengths += own
        targets += sum(doc.num_targets for doc in encoded)
    tokens = sum(source.tokens for source in found)
    cut = [min(length, row_length) for length in lengths]
    return PlannedData(
        sources=tuple(found), rows=max(1, round(tokens / (row_length * _PACKED_INTO))) if tokens else 0,
        row_length=row_length, context=mean_context(cut), target_share=targets / max(sum(lengths), 1), estimated=True,
    )  # fmt: skip


def _first_records(paths: Sequence[str], num_bytes: int) -> list[Record]:
    """Records from the beginning of every file, about `num_bytes` in all; bad ones are left to the run itself."""
    records: list[Record] = []
    for path in paths:
        read = 0
        for record in RecordReader([path], check=check_training, rejects=Rejects("skip")):
            records.append(record)
            read += _bytes_in_file(record)
            if read >= num_bytes / len(paths):
                break
    return records


def _bytes_in_file(record: Record) -> int:
    """What the record took in its file, with the line's end; a line of plain text is the text alone."""
    plain = record.path.endswith(".txt")
    return 1 + (len(record.value["text"].encode()) if plain else len(record.raw))
