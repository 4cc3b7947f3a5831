"""One reading of a source: its files parsed, counted in batches that cross files, and gathered file by file.

While the tokenizer counts, in threads (the engines let go of Python's lock), the next batches are read, parsed and
hashed. SentencePiece and tiktoken count a batch in each thread, so that one makes its lists of ids, which takes the
lock, while others encode; the engine of a tokenizer.json has threads of its own and gets one batch at a time. What the
files refuse is held back until a file (with stages, the source) is done and then told in the order of its lines, so
that it comes out the same for any number of threads, and whether the file was read or known from its sidecar. An error
that ends the reading is raised when all that was read before it is counted, for the same reason.
"""

from __future__ import annotations

import unicodedata
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from seatools.mix.counting import Counts, count_records
from seatools.mix.document_store import DocumentStore, Place, StoredFile
from seatools.mix.held_rejects import CHECKING, COUNTING, READING, HeldRejects, refuse_again
from seatools.mix.index_sidecar import COLUMNS, MAX_REJECTED_BYTES, FileIndex, RejectedLine, Sidecars
from seatools.streams.batches import batches
from seatools.streams.cores import available_cores
from seatools.streams.errors import SeaError
from seatools.streams.inputs import expand
from seatools.streams.records import BadRecord, Record, Rejects, check_training
from seatools.streams.source_specs import SourceSpec

if TYPE_CHECKING:
    from seatools.text.documents import Documents

BATCH_DOCS, BATCH_BYTES = 512, 1 << 20
NFC_SAMPLE_DOCS, NFC_SAMPLE_CHARACTERS = 1000, 4096
_CODES = {"uint64": "Q", "uint32": "I", "uint16": "H"}

T = TypeVar("T")
Stage = Callable[[Iterator[Record]], Iterator[Record]]
Placed = tuple[Record, Place]
Part = tuple[int | np.ndarray, FileIndex]  # number of the file in the store (or of each document), and its index


@dataclass(frozen=True, slots=True)
class PlacedRecord(Record):
    """A record that remembers where it stands, through the stages that pass it on."""

    place: Place
    stood: bytes
    """`raw` as it was read; a stage that gives another makes another document."""


def read_source(
    spec: SourceSpec,
    store: DocumentStore,
    rejects: Rejects,
    *,
    documents: Documents | None,
    workers: int,
    limit: int | None,
    stages: Sequence[Stage],
    sidecars: Sidecars | None,
    advance: Callable[[int], None],
) -> list[Part]:
    """The index of every file of the source, in order of their names; with `stages` one for all of them."""
    paths, ending = sorted(expand(spec.glob)), _Ending()
    has_tokenizer = documents is not None
    if stages:
        held, gathered = HeldRejects(rejects, paths), _Gathered()
        placed = ending.of(_renderable(_staged(store, spec, held, limit, stages, ending), documents))
        for batch, counts in _counted(placed, documents, workers):
            for (record, place), found in zip(batch, counts, strict=True):
                if isinstance(found, SeaError):
                    held.at(COUNTING).refuse(record, found, reason=_reason(found))
                else:
                    gathered.add(record, place, found)
            advance(len(batch))
        ending.raise_error()
        for _ in held.release():
            pass
        return [(np.array(gathered.files, dtype=np.uint32), gathered.index(has_tokenizer))]

    reading = _Reading(store, rejects, sidecars, has_tokenizer)
    for batch, counts in _counted(ending.of(_renderable(reading.placed(paths, limit), documents)), documents, workers):
        for (record, place), found in zip(batch, counts, strict=True):
            if isinstance(found, SeaError):
                reading.refuse(record, found)
            else:
                reading.files[record.path].gathered.add(record, place, found)
        advance(len(batch))
        reading.finish(before=batch[-1][0].path)
    reading.finish(before=None if ending.error is None else reading.latest)
    ending.raise_error()
    return reading.parts


class _Ending:
    """The error at which a stream of records ends, for raising it when all before it are counted."""

    def __init__(self) -> None:
        self.error: SeaError | None = None

    def of(self, items: Iterable[T]) -> Iterator[T]:
        """The items up to the error. Of two streams, one made of the other, the second has the earlier error, since
        the first is read ahead."""
        try:
            yield from items
        except SeaError as error:
            self.error = error

    def raise_error(self) -> None:
        if self.error is not None:
            raise self.error


def _staged(
    store: DocumentStore,
    spec: SourceSpec,
    held: HeldRejects,
    limit: int | None,
    stages: Sequence[Stage],
    ending: _Ending,
) -> Iterator[Placed]:
    """What the stages make of the source; a record whose line they left alone stays where it is."""
    read = ending.of(store.records([spec.glob], check=check_training, rejects=held.at(READING), limit=limit))
    records: Iterator[Record] = (
        PlacedRecord(record.raw, record.value, record.path, record.line, place, record.raw) for record, place in read
    )
    for stage in stages:
        records = stage(records)
    for record in records:
        if isinstance(record, PlacedRecord) and record.raw == record.stood:
            yield record, record.place
            continue
        try:
            check_training(record.value)
        except BadRecord as error:
            held.at(CHECKING).refuse(record, error)
            continue
        yield record, store.keep(record.raw)


def _renderable(placed: Iterable[Placed], documents: Documents | None) -> Iterator[Placed]:
    """The records, up to a chat for which there is no template."""
    needs_none = documents is None or documents.template is not None
    for item in placed:
        if not needs_none and documents is not None:
            _require_no_template(item[0], documents)
        yield item


def _counted(
    placed: Iterable[Placed], documents: Documents | None, workers: int
) -> Iterator[tuple[list[Placed], Sequence[Counts | SeaError | None]]]:
    """Batches of records with their counts (None without a tokenizer), in order; some batches are read ahead."""
    batched = batches(placed, lambda item: len(item[0].raw), max_items=BATCH_DOCS, max_size=BATCH_BYTES)
    if documents is None:
        yield from ((batch, [None] * len(batch)) for batch in batched)
        return
    own_threads = documents.tokenizer.kind.startswith(("json", "vocab"))
    threads, share = (1, workers) if own_threads else (workers or available_cores(), 1)
    waiting: deque[tuple[list[Placed], Future[list[Counts | SeaError]]]] = deque()
    with ThreadPoolExecutor(threads, "sea-count") as pool:
        for batch in batched:
            values = [record.value for record, _ in batch]
            waiting.append((batch, pool.submit(count_records, documents, values, workers=share)))
            if len(waiting) > threads:
                done, future = waiting.popleft()
                yield done, future.result()
        for done, future in waiting:
            yield done, future.result()


class _Gathered:
    """The columns of the documents so far."""

    def __init__(self) -> None:
        self.files = array("I")
        self.columns = {name: array(_CODES[dtype]) for name, dtype in COLUMNS.items()}
        self.lang_ids = {"": 0}
        self.num_unk = self.num_sampled = self.num_not_nfc = 0

    def add(self, record: Record, place: Place, counts: Counts | None) -> None:
        columns, value = self.columns, record.value
        text = _text(value)
        if self.num_sampled < NFC_SAMPLE_DOCS:
            self.num_sampled += 1
            self.num_not_nfc += not unicodedata.is_normalized("NFC", text[:NFC_SAMPLE_CHARACTERS])
        lang = value.get("lang")
        lang_id = self.lang_ids.setdefault(lang, len(self.lang_ids)) if isinstance(lang, str) else 0
        if lang_id >= 1 << 16:
            raise SeaError(f"{record.where}: more than 65,535 different `lang` in one file", fix="is it a language?")
        self.files.append(place.file)
        columns["offsets"].append(place.offset)
        columns["lengths"].append(place.length)
        columns["hashes"].append(place.xxh3)
        columns["num_bytes"].append(len(text.encode("utf-8")))
        columns["lang_ids"].append(lang_id)
        if counts is not None:
            columns["num_tokens"].append(counts.tokens)
            columns["num_targets"].append(counts.targets)
            self.num_unk += counts.unk

    def index(self, has_tokenizer: bool, rejected: Sequence[RejectedLine] = ()) -> FileIndex:
        columns = {name: np.array(values, dtype=COLUMNS[name]) for name, values in self.columns.items()}
        if not has_tokenizer:
            columns = {name: values for name, values in columns.items() if name not in ("num_tokens", "num_targets")}
        return FileIndex(
            columns, list(self.lang_ids), self.num_unk, self.num_sampled, self.num_not_nfc, rejected
        )  # fmt: skip


class _File:
    """A file of the source on its way."""

    def __init__(self, path: str, rejects: Rejects) -> None:
        self.path = path
        self.gathered = _Gathered()
        self.held = HeldRejects(rejects, [path])
        self.known: FileIndex | None = None
        """What its sidecar says, in place of the above."""
        self.number = 0
        self.stored: StoredFile | None = None
        """Once it was read to its end."""


class _Reading:
    """The files of a source, opened one after the other and finished in that order."""

    def __init__(self, store: DocumentStore, rejects: Rejects, sidecars: Sidecars | None, has_tokenizer: bool) -> None:
        self.store, self.rejects, self.sidecars, self.has_tokenizer = store, rejects, sidecars, has_tokenizer
        self.files: dict[str, _File] = {}  # those not finished, in order
        self.latest: str | None = None
        """The file that is being read."""
        self.parts: list[Part] = []

    def placed(self, paths: Sequence[str], limit: int | None) -> Iterator[Placed]:
        """The records of the files that no sidecar knows."""
        num_read = 0
        for path in paths:
            if limit is not None and num_read >= limit:
                return
            self.latest = path
            known = self.sidecars.load(path) if self.sidecars is not None and path != "-" else None
            file = self.files[path] = _File(path, self.rejects)
            if known is not None:
                file.known, sha256 = known
                file.number = self.store.add_indexed(path, sha256)
                file.stored = self.store.files[file.number]
                continue
            left = None if limit is None else limit - num_read
            held = file.held.at(READING)
            for item in self.store.records([path], check=check_training, rejects=held, limit=left):
                num_read += 1
                yield item
            file.number = len(self.store.files) - 1
            file.stored = self.store.files[file.number]

    def refuse(self, record: Record, error: SeaError) -> None:
        """Take a record that cannot be counted; raises its error under `fail`, or one of the files before it."""
        if self.rejects.on_error == "fail":
            self.finish(before=record.path)
        self.files[record.path].held.at(COUNTING).refuse(record, error, reason=_reason(error))

    def finish(self, before: str | None) -> None:
        """Finish the files before this one, whose records were all counted."""
        while self.files:
            path = next(iter(self.files))
            if path == before:
                return
            self._finish(self.files.pop(path))

    def _finish(self, file: _File) -> None:
        if file.known is not None:
            for row in file.known.rejected:
                refuse_again(self.rejects, file.path, row)
            self.parts.append((file.number, file.known))
            return
        is_kept = file.held.num_bytes <= MAX_REJECTED_BYTES
        rejected: list[RejectedLine] = []
        for row in file.held.release():
            if is_kept:
                rejected.append(row)
        index = file.gathered.index(self.has_tokenizer, rejected)
        self.parts.append((file.number, index))
        stored = file.stored
        if self.sidecars is not None and stored is not None and stored.identity is not None and is_kept:
            stored.sha256 = self.sidecars.save(file.path, stored.identity, index)


def _reason(error: SeaError) -> str:
    """Under which a record is counted whose error names no reason."""
    return error.what.partition(":")[0]


def _require_no_template(record: Record, documents: Documents) -> None:
    """A missing template is a mistake on the command line, not a bad record to be skipped."""
    value = record.value
    if "messages" in value or ("completion" in value and isinstance(value.get("prompt"), list)):
        raise SeaError(
            f"a chat record needs a chat template, and {documents.tokenizer.path} has none",
            where=record.where,
            fix="--chat-template FILE",
        )


def _text(value: dict[str, Any]) -> str:
    """What a record says: its text, or the contents of its turns."""
    if "messages" in value:
        return "".join(message["content"] for message in value["messages"])
    if "prompt" in value and "completion" in value:
        turns = (value["prompt"], value["completion"])
        return "".join(turn if isinstance(turn, str) else _text({"messages": turn}) for turn in turns)
    return str(value["text"])
