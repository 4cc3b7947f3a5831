"""A mix in parts: a span of the schedule for each machine (`--shard I/N`), files in a folder (`--shard-size`).

A span is a stretch of consecutive emissions, so the outputs of all N, one after the other, are the bytes of a single
run; packed rows are those of the single run if spans are cut at whole windows. Which document comes where is computed
(`Plan.emissions`), so a shard costs only its own part. Files of a folder are cut by counts and sizes alone and are the
same for any number of workers.
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from seatools.mix.emission import line_blocks
from seatools.mix.packed_mix import counts_of, packed_windows, packed_writer
from seatools.mix.plan import Plan
from seatools.streams.errors import UsageError
from seatools.streams.outputs import open_output
from seatools.streams.progress import Progress
from seatools.text.packed_shards import PART_NAME

if TYPE_CHECKING:
    from seatools.text.documents import Documents


def parse_shard(text: str) -> tuple[int, int]:
    """ "I/N" as two numbers, 0 <= I < N."""
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    index, total = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 0 <= index < total:
        raise UsageError(f'--shard "{text}" is no shard', fix="--shard 0/4 to --shard 3/4")
    return index, total


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

    A part holds whole windows, at most `shard_bytes` of tensors unless its first window alone is larger. `sea train
    MODEL FOLDER` reads the parts in order as one data set.
    """
    span = span if span is not None else range(len(plan.schedule.order))
    rows = tokens = targets = parts = 0
    with ExitStack() as stack, Progress("packing", total=len(span), quiet=quiet) as progress:
        writer = stack.enter_context(packed_writer(plan, documents))

        def finish() -> None:
            nonlocal rows, tokens, targets, parts
            with open_output(folder / f"{PART_NAME.format(parts)}.safetensors") as stream:
                writer.save(stream)
            rows, tokens, targets = rows + writer.num_rows, tokens + writer.num_tokens, targets + writer.num_targets
            parts += 1
            stack.close()

        for tensors, num_docs in packed_windows(plan, documents, writer, span, workers=workers):
            more = sum(array.nbytes for array in tensors.values())
            if writer.num_rows and writer.num_bytes + more > shard_bytes:
                finish()
                writer = stack.enter_context(packed_writer(plan, documents))
            writer.add(tensors)
            progress.advance(num_docs)
        finish()
        return {**counts_of(writer.row_length, rows, tokens, targets), "parts": parts}
