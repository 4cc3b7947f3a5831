"""The documents of a plan as packed rows of tokens.

Each window of documents, in the order of the schedule, is packed by itself and its rows shuffled inside it, so the
ratio of the sources holds along the file as it does along the schedule; windows are counted from the start of the
schedule, so the rows of spans cut at whole windows are those of the whole. One with too many tokens is packed in
several, cut by the counted tokens of the plan and inside the window, so spans stay right. Memory: one window, at most
MAX_WINDOW_TOKENS and a document, at 12 bytes a token (measured: 95 MB for 8 million, 190 MB at the bound); a document
is tokenised once a window. Disk: the packed data once more, in the temporary folder, while a file is put together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np
import orjson

from seatools.mix.emission import read_lines
from seatools.mix.plan import Plan
from seatools.streams.batches import batches
from seatools.streams.errors import SeaError
from seatools.streams.progress import Progress
from seatools.text.packing import MAX_WINDOW_TOKENS, Rows, pack_arrays, window_seed

if TYPE_CHECKING:
    from seatools.text.documents import Documents, TokenizedDoc
    from seatools.text.packed_writer import PackedWriter

BATCH_BYTES = 1 << 20
_DOC_BITS = 47  # of a source and a document number in one integer


def write_packed_mix(
    plan: Plan,
    documents: Documents,
    stream: IO[bytes],
    *,
    span: range | None = None,
    workers: int = 0,
    quiet: bool = False,
) -> dict[str, float]:
    """Tokenise, pack and write the plan (emissions `span`, cut at whole windows).

    Returns the counts of `counts_of`.
    """
    span = span if span is not None else range(len(plan.schedule.order))
    with packed_writer(plan, documents) as writer, Progress("packing", total=len(span), quiet=quiet) as progress:
        for packed in packed_windows(plan, documents, span, workers=workers):
            writer.add(*packed)
            progress.advance(len(packed.docs))
            del packed  # before the next one is tokenised
        writer.save(stream)
        return counts_of([writer])


def packed_writer(plan: Plan, documents: Documents) -> PackedWriter:
    """For rows of this plan."""
    from seatools.text.packed_writer import PackedWriter

    assert plan.options.pack is not None
    sources = [index.spec.name for index in plan.indexes]
    return PackedWriter(
        row_length=plan.options.pack, tokenizer_digest=documents.tokenizer.digest(), sources=sources
    )  # fmt: skip


def counts_of(writers: Sequence[PackedWriter]) -> dict[str, float]:
    """The figures of all these files (one or more) for the manifest.

    rows, row_length, tokens, loss_tokens, fill (of the rows), cut_docs (documents cut into several rows) and
    cut_loss_tokens (theirs that are not trained for that; with loss_tokens the loss tokens of the plan).
    """
    rows, row_length = sum(writer.num_rows for writer in writers), writers[0].row_length
    tokens = sum(writer.num_tokens for writer in writers)
    return {
        "rows": rows,
        "row_length": row_length,
        "tokens": tokens,
        "loss_tokens": sum(writer.num_targets for writer in writers),
        "fill": round(tokens / (rows * row_length), 6) if rows else 0.0,
        "cut_docs": sum(writer.cuts.docs for writer in writers),
        "cut_loss_tokens": sum(writer.cuts.targets for writer in writers),
    }


class PackedWindow(NamedTuple):
    """What `PackedWriter.add` takes."""

    rows: Rows
    docs: Sequence[TokenizedDoc]
    source_ids: Sequence[int]


class _Window(NamedTuple):
    """Documents that are packed together."""

    first: int  # emission
    sources: np.ndarray  # [docs] uint16
    numbers: np.ndarray  # [docs] int64, of documents of the source
    lengths: list[int]  # [docs] tokens


def packed_windows(plan: Plan, documents: Documents, span: range, *, workers: int) -> Iterator[PackedWindow]:
    """Each window of emissions in `span`, tokenised and packed."""
    with ThreadPoolExecutor(1, "sea-encode") as pool:
        for window in _windows(plan, span):
            keys, own = np.unique(window.sources.astype(np.int64) << _DOC_BITS | window.numbers, return_inverse=True)
            places = (keys >> _DOC_BITS, keys & (1 << _DOC_BITS) - 1)
            distinct = _tokenised(plan, documents, *places, pool, workers)
            docs = [distinct[i] for i in own.tolist()]
            del distinct
            yield PackedWindow(_rows_of(plan, window), docs, window.sources.tolist())
            del docs


def window_counts(plan: Plan, span: range) -> Iterator[tuple[int, int, int]]:
    """(rows, segments, tokens) of each window that `packed_windows` gives, without a token: a second for a million
    documents."""
    for window in _windows(plan, span):
        rows = _rows_of(plan, window)
        yield len(rows.offsets) - 1, len(rows.doc), sum(window.lengths)


def _windows(plan: Plan, span: range) -> Iterator[_Window]:
    size = plan.options.pack_window
    if span.start % size or (span.stop % size and span.stop != len(plan.schedule.order)):
        raise ValueError(f"{span} is not cut at windows of {size}")
    for first in range(span.start, span.stop, size):
        sources, numbers = plan.emissions(first, min(first + size, span.stop))
        counted = np.empty(len(sources), dtype=np.int64)
        for source in np.unique(sources).tolist():
            mine = sources == source
            counted[mine] = plan.indexes[source].num_tokens[numbers[mine]]
        lengths = counted.tolist()
        for part in batches(range(len(lengths)), lengths.__getitem__, max_size=MAX_WINDOW_TOKENS):
            own = slice(part[0], part[-1] + 1)
            yield _Window(first + own.start, sources[own], numbers[own], lengths[own])


def _rows_of(plan: Plan, window: _Window) -> Rows:
    assert plan.options.pack is not None
    seed = window_seed(plan.options.seed, window.first)
    return pack_arrays(window.lengths, plan.options.pack, window=len(window.lengths), seed=seed)


def _tokenised(
    plan: Plan, documents: Documents, sources: np.ndarray, numbers: np.ndarray, pool: ThreadPoolExecutor, workers: int
) -> list[TokenizedDoc]:
    """Documents of these places, one batch read and parsed while the one before is encoded."""
    found: list[Any] = []
    waiting: Future[list[Any]] | None = None
    for lines, ends in read_lines(plan, sources, numbers, block_bytes=BATCH_BYTES):
        starts = [0, *ends[:-1].tolist()]
        records = [orjson.loads(lines[start:end]) for start, end in zip(starts, ends.tolist(), strict=True)]
        if waiting is not None:
            found += waiting.result()
        waiting = pool.submit(documents.encode, records, workers=workers)
    if waiting is not None:
        found += waiting.result()
    for source, number, doc in zip(sources.tolist(), numbers.tolist(), found, strict=True):
        index = plan.indexes[source]
        if isinstance(doc, SeaError) or len(doc.ids) != index.num_tokens[number]:
            path = index.store.files[index.files[number]].path
            raise SeaError(f"{path}: a document no longer has the tokens that were counted", fix="run again")
    return found
