"""The documents of a plan as JSONL, byte for byte as they came, each checked against its hash.

The plan is resolved to places 4,096 documents at a time, in numpy; blocks of 128 KiB of them are read file by file in
the order of offsets into a buffer, and written while the processor's cache still holds them (512 KiB took a third more
system time, 5 MB twice as much; memory maps whose pages are given back took two to three times as much); a thread
hashes the block before for the manifest, if that is asked for.
Memory: two such buffers and what the plan and the indexes hold (60 MB in all for 300,000 documents), never the
documents. Cost: a `pread` (3 us where system calls are slow) and 1.7 us of Python a document, and the writing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import IO

import numpy as np

from seatools.mix.plan import Plan
from seatools.streams.progress import Progress

BLOCK_DOCS, BLOCK_BYTES = 4096, 128 << 10


def emit(
    plan: Plan, stream: IO[bytes], *, span: range | None = None, digest: bool = False, quiet: bool = False
) -> str | None:
    """Write the documents of the plan (of emissions `span`) as one line each.

    Returns the sha256 of the lines if `digest` asks for it: that of the output, if nothing compresses it.
    """
    span = span if span is not None else range(len(plan.schedule.order))
    total, waiting = hashlib.sha256(), None
    with ThreadPoolExecutor(1, "sea-digest") as pool, Progress("mixing", total=len(span), quiet=quiet) as progress:
        for lines, ends in line_blocks(plan, span):
            if waiting is not None:
                waiting.result()
            if digest:
                waiting = pool.submit(total.update, lines)
            stream.write(lines)
            progress.advance(len(ends))
    return total.hexdigest() if digest else None


def line_blocks(plan: Plan, span: range) -> Iterator[tuple[memoryview, np.ndarray]]:
    """The lines of emissions `span` in blocks, and where each line of the block ends ([n] int64).

    A block is good until the second next one is asked for.
    """
    for first in range(span.start, span.stop, BLOCK_DOCS):
        yield from read_lines(plan, *plan.emissions(first, min(first + BLOCK_DOCS, span.stop)))


def read_lines(
    plan: Plan, sources: np.ndarray, docs: np.ndarray, *, block_bytes: int | None = None
) -> Iterator[tuple[memoryview, np.ndarray]]:
    """The lines of documents ([n] sources, [n] numbers), as `line_blocks` gives them."""
    files, offsets, lengths, hashes = _places(plan, sources, docs)
    yield from plan.indexes[0].store.blocks(files, offsets, lengths, hashes, block_bytes or BLOCK_BYTES)


def _places(plan: Plan, sources: np.ndarray, docs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Where documents stand: file numbers, offsets, lengths and hashes, [n] each."""
    columns = ("files", "offsets", "lengths", "hashes")
    found = [np.empty(len(docs), dtype=dtype) for dtype in (np.int64, np.int64, np.int64, np.uint64)]
    for source in np.unique(sources).tolist():
        mine = sources == source
        for column, values in zip(columns, found, strict=True):
            values[mine] = getattr(plan.indexes[source], column)[docs[mine]]
    return found[0], found[1], found[2], found[3]
