"""A mix in parts: a span of the schedule for each machine (`--shard I/N`), files in a folder (`--shard-size`).

A span is a stretch of consecutive emissions, so the outputs of all N, one after the other, are the bytes of a single
run; packed rows are those of the single run if spans are cut at whole windows. Which document comes where is computed
(`Plan.emissions`), so a shard costs only its own part. Files of a folder are cut by counts and sizes alone and are the
same for any number of workers.
"""

from __future__ import annotations

from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from seatools.mix.emission import line_blocks
from seatools.mix.packed_mix import counts_of, packed_windows, packed_writer, window_counts
from seatools.mix.plan import Plan
from seatools.streams.outputs import open_output
from seatools.streams.progress import Progress
from seatools.text.packed_shards import PART_NAME, part_note

if TYPE_CHECKING:
    from seatools.text.documents import Documents
    from seatools.text.packed_writer import PackedWriter


def shard_span(num_emissions: int, index: int, total: int, multiple: int = 1) -> range:
    """The emissions of shard `index` of `total` (counted from 0), cut at multiples of `multiple` (a pack window).

    Spans of all shards are the whole, in order; some are empty when there are fewer multiples than shards.
    """
    if not 0 <= index < total or multiple < 1:
        raise ValueError(f"shard {index} of {total}, cut at multiples of {multiple}")
    blocks = -(-num_emissions // multiple)
    start, stop = (min(blocks * i // total * multiple, num_emissions) for i in (index, index + 1))
    return range(start, stop)


def write_shards(
    plan: Plan,
    folder: Path,
    *,
    shard_bytes: int,
    suffix: str = ".jsonl",
    span: range | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Write the documents into folder/part-00000.jsonl, ... (`suffix` ".jsonl.zst" or ".jsonl.gz" compresses).

    A part holds at most `shard_bytes` of lines before compression; a longer line stands alone. Returns {"parts": n}.
    `folder` exists and is empty: that of `output_folder`, so that it appears as a whole.
    """
    span = span if span is not None else range(len(plan.schedule.order))
    size, number = 0, 0
    with ExitStack() as stack, Progress("mixing", total=len(span), quiet=quiet) as progress:
        stream: IO[bytes] | None = None
        for lines, ends in line_blocks(plan, span):
            done = 0  # bytes of the block that are written
            while done < len(lines):
                room = int(np.searchsorted(ends, done + shard_bytes - size, side="right"))
                end = int(ends[room - 1]) if room else 0  # of the last line that still goes in
                if end <= done and size:
                    stack.close()
                    stream, size = None, 0
                    continue
                if end <= done:
                    end = int(ends[np.searchsorted(ends, done, side="right")])
                if stream is None:
                    path = folder / f"{PART_NAME.format(number)}{suffix}"
                    stream, number = stack.enter_context(open_output(path)), number + 1
                stream.write(lines[done:end])
                size, done = size + end - done, end
            progress.advance(len(ends))
    return {"parts": number}


def write_packed_shards(
    plan: Plan,
    documents: Documents,
    folder: Path,
    *,
    shard_bytes: int,
    span: range | None = None,
    workers: int = 0,
    quiet: bool = False,
) -> dict[str, Any]:
    """Write packed rows into folder/part-00000.safetensors, ...; returns the counts of `write_packed_mix` and "parts".

    A part is a file of at most `shard_bytes` that holds whole windows, or one window that is larger. What each window
    will take is counted first (`window_counts`), for every part says how many there are. `sea train MODEL FOLDER`
    reads the parts in order as one data set.
    """
    span = span if span is not None else range(len(plan.schedule.order))
    with ExitStack() as stack, Progress("packing", total=len(span), quiet=quiet) as progress:
        windows = packed_windows(plan, documents, span, workers=workers)
        layout = _parts(plan, stack.enter_context(packed_writer(plan, documents)), span, shard_bytes)
        writers = []
        for number, num_windows in enumerate(layout):
            writer = stack.enter_context(packed_writer(plan, documents))
            writers.append(writer)
            for packed in islice(windows, num_windows):
                writer.add(*packed)
                progress.advance(len(packed.docs))
                del packed  # before the next one is tokenised
            with open_output(folder / f"{PART_NAME.format(number)}.safetensors") as stream:
                writer.save(stream, extra=part_note(number, len(layout)))
            stack.close()
        return {**counts_of(writers), "parts": len(layout)}


def _parts(plan: Plan, writer: PackedWriter, span: range, shard_bytes: int) -> list[int]:
    """The number of windows in each part."""
    counts = list(window_counts(plan, span))
    note = part_note(len(counts), len(counts))  # at least as long as any that will be written
    parts, held = [0], np.zeros(3, dtype=np.int64)
    for window in counts:
        with_it = held + window
        rows, segments, tokens = with_it.tolist()
        size = writer.bytes_of(num_rows=rows, num_segments=segments, num_tokens=tokens, extra=note)
        if parts[-1] and size > shard_bytes:
            parts.append(0)
            with_it = np.array(window, dtype=np.int64)
        parts[-1] += 1
        held = with_it
    return parts
