"""What `train` reads, as packed rows: packed files as they are, or records packed into `OUT/packed.safetensors`.

Records are spooled as packed data inside OUT, so that a run fed by a pipe resumes like any other and never tokenises
twice. The file's metadata tells what it was made from, so that --resume with other data or another --seq-len is
refused. Records are packed window by window and rows shuffled inside a window, so that the order of a mix survives.
Memory while they are packed: one window, at most MAX_WINDOW_TOKENS and a document, at 12 bytes a token (measured: 97 MB
for 8 million, 209 MB at the bound); afterwards rows are read from the file as needed.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from seatools.streams.batches import batches, record_batches
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.inputs import TEXT_SUFFIXES, bare_suffix, expand, parse_labelled, refuse_repeats, shown_together
from seatools.streams.messages import Messages
from seatools.streams.outputs import open_output
from seatools.streams.progress import Progress
from seatools.streams.records import RecordReader, Rejects, check_training
from seatools.text.documents import Documents, TokenizedDoc
from seatools.text.packed import PackedData, read_packed
from seatools.text.packed_shards import shard_paths
from seatools.text.packed_writer import PackedWriter
from seatools.text.packing import MAX_WINDOW_TOKENS, WINDOW, pack_arrays, window_seed
from seatools.train.options import Order

SPOOL = "packed.safetensors"


@dataclass(frozen=True)
class Source:
    """A named part of the data: `th=GLOB`, or what has no label ("data")."""

    name: str
    paths: tuple[str, ...]


def parse_sources(arguments: Sequence[str], *, outside: Path | None = None) -> list[Source]:
    """DATA arguments by label, files expanded; packed files, or a folder of them, stand without other data.

    Files in the folder `outside` are left out: a resumed run's own, where DATA is a folder around OUT.
    """
    grouped: dict[str, list[str]] = {}
    for argument in arguments:
        label, spec = parse_labelled(argument)
        paths = _packed_in(spec) or expand(spec)
        if outside is not None:
            paths = [path for path in paths if path == "-" or not Path(path).resolve().is_relative_to(outside)]
        grouped.setdefault(label or "data", []).extend(paths)
    sources = [Source(name, tuple(paths)) for name, paths in grouped.items()]
    refuse_repeats([path for source in sources for path in source.paths])
    are_packed = {path.endswith(".safetensors") for source in sources for path in source.paths}
    if True in are_packed and (len(sources) > 1 or False in are_packed):
        raise UsageError("a packed file cannot be joined with other data", fix="give it alone, or mix before packing")
    return sources


def _packed_in(spec: str) -> list[str]:
    """The packed parts in a folder that `sea mix --shard-size` wrote, in order; [] for everything else."""
    parts = shard_paths(spec) if os.path.isdir(spec) else []
    others = sorted(name for name in os.listdir(spec) if bare_suffix(name) in TEXT_SUFFIXES) if parts else []
    if others:
        raise UsageError(f"{spec} holds packed parts and {shown_together(others)}", fix="name the files you mean")
    return parts


def packed_paths(sources: Sequence[Source]) -> list[Path]:
    """The packed files that the arguments name, in order; [] when records are to be packed."""
    paths = sources[0].paths if sources else ()
    return [Path(path) for path in paths] if paths and paths[0].endswith(".safetensors") else []


def order_of(order: Order, sources: Sequence[Source], spool: PackedData | None) -> Literal["file", "shuffled"]:
    """The order of rows: what is packed, or comes by a pipe alone, was put in its order by who made it.

    `spool` is that of a resumed run, which need not name its data again.
    """
    if order != "auto":
        return order
    paths = [path for source in sources for path in source.paths]
    if not paths and spool is not None and "inputs" in spool.metadata:
        paths = [row["path"] for row in spool_note(spool, "inputs")]
    return "file" if paths == ["-"] or packed_paths(sources) else "shuffled"


def made_from(
    sources: Sequence[Source], *, seq_len: int, seed: int, limit: int | None, template: str | None, order: str
) -> dict[str, Any]:
    """What decides the rows of a spool besides the tokenizer, as JSON; files by name and size, `template` by digest."""
    files = [(source.name, path) for source in sources for path in source.paths]
    sizes = {path: "" if path == "-" else f" ({os.path.getsize(path)} bytes)" for _, path in files}
    return {
        "DATA": ", ".join(f"{name}={Path(path).name}{sizes[path]}" for name, path in files),
        "--seq-len": seq_len,
        "--seed": seed,
        "--limit": limit,
        "--order": order,
        "--chat-template": None if template is None else hashlib.sha256(template.encode()).hexdigest()[:16],
    }


def check_spool(packed: PackedData, now: Mapping[str, Any]) -> None:
    """Refuse, by the name of what differs, a spool that was not made from what `now` (of `made_from`) says.

    A resumed run need not name its DATA again.
    """
    if "made_from" not in packed.metadata:
        raise UsageError(f"{packed.path} was not packed by a run of train", fix="name it as DATA, and another OUT")
    for name, was in spool_note(packed, "made_from").items():
        if was != now.get(name) and (name != "DATA" or now[name]):
            raise UsageError(
                f"{packed.path} belongs to another run: {name} was {was}, now {now.get(name)}",
                fix="repeat the options of the first run, or start afresh with --force",
            )


def spool_note(packed: PackedData, key: str) -> Any:
    """What `spool_packed` wrote of its inputs, rejects and options. SeaError for what it cannot have written."""
    try:
        value = json.loads(packed.metadata[key])  # names that are not UTF-8 are in it, as lone surrogates
    except (KeyError, ValueError, RecursionError):
        value = None
    good = isinstance(value, list if key == "inputs" else dict)
    if not good or not all(isinstance(row, dict) and "path" in row for row in (value if key == "inputs" else ())):
        raise SeaError(f"{packed.path}: {key} is damaged", fix="start afresh with --force")
    return value


def spool_packed(
    sources: Sequence[Source],
    documents: Documents,
    path: Path,
    *,
    origin: Mapping[str, Any],
    inputs: Sequence[Mapping[str, Any]],
    digest: str,
    rejects: Rejects,
    limit: int | None,
    workers: int,
    messages: Messages,
) -> PackedData:
    """Tokenise and pack every record of `sources` into `path`, window by window in their order.

    `origin` (of `made_from`), `inputs` (rows of the manifest) and the counts of rejects go into its metadata.
    """
    names, seq_len, first = [source.name for source in sources], origin["--seq-len"], 0
    with (
        _room_for(path),
        PackedWriter(row_length=seq_len, tokenizer_digest=digest, sources=names, folder=path.parent) as writer,
        Progress("tokenising", unit="docs", quiet=messages.quiet) as progress,
    ):
        found = _tokenised(sources, documents, rejects=rejects, limit=limit, workers=workers, progress=progress)
        windows = batches(found, lambda doc: len(doc[1].ids), max_size=MAX_WINDOW_TOKENS, max_items=WINDOW)
        for window in windows:
            source_ids, docs = zip(*window, strict=True)
            seed = window_seed(origin["--seed"], first)
            writer.add(pack_arrays([len(doc.ids) for doc in docs], seq_len, seed=seed), docs, source_ids)
            first += len(docs)
            del window, docs  # before the next one is tokenised
        notes = {"made_from": dict(origin), "inputs": list(inputs), "rejects": dict(rejects.counts)}
        with open_output(path, force=True) as stream:
            writer.save(stream, extra={key: json.dumps(note) for key, note in notes.items()})
    return read_packed(path)


@contextlib.contextmanager
def _room_for(path: Path) -> Iterator[None]:
    """Names `path` where a disk is full: what is written on the way has no name."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        what, fix = f"the packed data cannot be written: {error.strerror}", "make room: 10 bytes a token on the way"
        raise SeaError(what, where=str(path), fix=fix) from error


def _tokenised(
    sources: Sequence[Source],
    documents: Documents,
    *,
    rejects: Rejects,
    limit: int | None,
    workers: int,
    progress: Progress,
) -> Iterator[tuple[int, TokenizedDoc]]:
    """(number of the source, document) of each record that can be trained. Raises SeaError for a source without one."""
    for number, source in enumerate(sources):
        num_found = 0
        reader = RecordReader(list(source.paths), check=check_training, rejects=rejects, limit=limit)
        for batch in record_batches(reader):
            encoded = documents.encode([record.value for record in batch], workers=workers)
            for record, doc in zip(batch, encoded, strict=True):
                if isinstance(doc, SeaError):
                    rejects.refuse(record, doc, reason="not trainable")
                    continue
                num_found += 1
                yield number, doc
            progress.advance(len(batch))
        if not num_found:
            fix = rejects.summary() if rejects.total else "is the file empty?"
            raise SeaError("no record to train on", where=shown_together(source.paths), fix=fix)
