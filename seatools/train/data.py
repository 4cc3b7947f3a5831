"""What `train` reads, as packed rows: a packed file as it is, or records packed into `OUT/packed.safetensors`.

Records are spooled as packed data inside OUT, so that a run fed by a pipe resumes like any other and never tokenises
twice. Memory: 5 bytes per token of the data while it is packed; afterwards rows are read from the file as needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from seatools.streams.errors import SeaError, UsageError
from seatools.streams.inputs import expand, parse_labelled
from seatools.streams.messages import Messages
from seatools.streams.outputs import open_output
from seatools.streams.progress import Progress
from seatools.streams.records import BadRecord, RecordReader, Rejects, check_training
from seatools.text.documents import Documents, TokenizedDoc
from seatools.text.packed import PackedData, read_packed, write_packed
from seatools.text.packing import pack

if TYPE_CHECKING:
    from seatools.streams.records import Record

SPOOL = "packed.safetensors"
_BATCH_RECORDS, _BATCH_BYTES = 1024, 4 << 20


@dataclass(frozen=True)
class Source:
    """A named part of the data: `th=GLOB`, or what has no label ("data")."""

    name: str
    paths: tuple[str, ...]


def parse_sources(arguments: Sequence[str]) -> list[Source]:
    """DATA arguments by label, files expanded; one packed file stands alone."""
    grouped: dict[str, list[str]] = {}
    for argument in arguments:
        label, spec = parse_labelled(argument)
        grouped.setdefault(label or "data", []).extend(expand(spec))
    sources = [Source(name, tuple(paths)) for name, paths in grouped.items()]
    if any(path.endswith(".safetensors") for source in sources for path in source.paths) and (
        len(sources) > 1 or len(sources[0].paths) > 1
    ):
        raise UsageError("a packed file cannot be joined with other data", fix="give it alone, or mix before packing")
    return sources


def packed_path(sources: Sequence[Source], out: Path) -> Path | None:
    """The packed file that the arguments name, or None when records are to be packed."""
    only = sources[0].paths[0] if sources else ""
    return Path(only) if only.endswith(".safetensors") else None


def spool_packed(
    sources: Sequence[Source],
    documents: Documents,
    out: Path,
    *,
    seq_len: int,
    seed: int,
    digest: str,
    rejects: Rejects,
    limit: int | None,
    workers: int,
    messages: Messages,
) -> PackedData:
    """Tokenise and pack every record of `sources` into OUT/packed.safetensors."""
    docs: list[TokenizedDoc] = []
    source_ids: list[int] = []
    with Progress("tokenising", unit="docs", quiet=messages.quiet) as progress:
        for number, source in enumerate(sources):
            before = len(docs)
            reader = RecordReader(list(source.paths), check=check_training, rejects=rejects, limit=limit)
            for batch in _batches(reader):
                for record, doc in zip(batch, _encoded(documents, batch, workers), strict=True):
                    if isinstance(doc, SeaError):
                        bad = BadRecord("not trainable", doc.what, where=record.where, fix=doc.fix)
                        rejects.take(bad, record.raw, record.path, record.line)
                        continue
                    docs.append(doc)
                    source_ids.append(number)
                progress.advance(len(batch))
            if len(docs) == before:
                raise SeaError(f"{', '.join(source.paths[:3])}: no record to train on")
    rows = pack([len(doc.ids) for doc in docs], seq_len, seed=seed)
    with open_output(out / SPOOL, force=True) as stream:
        write_packed(
            stream, rows, docs, source_ids, row_length=seq_len, tokenizer_digest=digest,
            sources=[source.name for source in sources],
        )  # fmt: skip
    return read_packed(out / SPOOL)


def _encoded(documents: Documents, batch: Sequence[Record], workers: int) -> list[TokenizedDoc | SeaError]:
    return documents.encode([record.value for record in batch], workers=workers)


def _batches(reader: RecordReader) -> Iterator[list[Record]]:
    batch: list[Record] = []
    size = 0
    for record in reader:
        batch.append(record)
        size += len(record.raw)
        if len(batch) >= _BATCH_RECORDS or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
