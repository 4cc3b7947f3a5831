"""The text of each language: from `--lang th=FILE` to batches of packed contexts that remember where they lie.

A document is BOS (where the tokenizer has one) and its text, without EOS. One longer than a row is cut into contexts
of a row's length; what the statistics call a document is such a context, and one too short to say anything is left out
(PLND intersects over documents: one of two tokens would decide over thousands). Contexts are numbered through the
whole corpus and go in pairs, one to each half, to the shards and ranks in turn: so every shard has both halves, and
what is measured does not depend on who measures it. Memory: a window of 1,024 records or 4 MiB.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch

from seatools.engine.rows import Batch, make_batch
from seatools.streams.batches import record_batches
from seatools.streams.digests import sha256_file
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.inputs import expand, parse_labelled, shown, shown_together
from seatools.streams.records import RecordReader, Rejects, check_text
from seatools.text.documents import Documents
from seatools.text.packing import pack

_SAMPLE_CHARACTERS = 200_000  # for the check of the script
_FIRST_RECORDS = 16  # of each language, for the check that there is text
_PIECE = 512


class Context(NamedTuple):
    """A document, or a piece of one that is longer than a row."""

    ids: np.ndarray  # uint32 [n]
    half: int  # 0 or 1


class Span(NamedTuple):
    """Tokens [start, stop) of one row of a batch: one context, of this half of the corpus."""

    row: int
    start: int
    stop: int
    half: int = 0


@dataclass(frozen=True)
class PackedBatch:
    """Rows for the model and where their contexts lie; padding is in no span."""

    batch: Batch
    spans: tuple[Span, ...]

    @property
    def num_tokens(self) -> int:
        return sum(span.stop - span.start for span in self.spans)


@dataclass(frozen=True)
class Part:
    """Which contexts of a corpus are read: those of shard `shard` of `num_shards` and, of these, of one rank."""

    shard: int = 0
    num_shards: int = 1
    rank: int = 0
    num_ranks: int = 1

    def has(self, number: int) -> bool:
        """Whether context `number` of the corpus is read here."""
        pair = number // 2
        return pair % self.num_shards == self.shard and (pair // self.num_shards) % self.num_ranks == self.rank


@dataclass
class CorpusCounts:
    """What was read of one language, by all shards and ranks together."""

    num_docs: int = 0
    """Contexts."""
    num_tokens: int = 0
    num_short: int = 0
    """Contexts left out because they were too short."""
    sample: list[str] = field(default_factory=list)
    _characters: int = 0

    def keep_sample(self, text: str) -> None:
        """Remember the beginning of the corpus."""
        if self._characters < _SAMPLE_CHARACTERS:
            self.sample.append(text[: _SAMPLE_CHARACTERS - self._characters])
            self._characters += len(self.sample[-1])


def parse_corpora(arguments: Sequence[str]) -> dict[str, list[str]]:
    """`--lang` arguments as lang -> files. UsageError for one without label, a pipe, and a file of two languages."""
    corpora: dict[str, list[str]] = {}
    owners: dict[object, str] = {}
    for argument in arguments:
        lang, spec = parse_labelled(argument)
        if lang is None:
            raise UsageError(f'--lang "{argument}" has no language', fix="--lang th=FILE")
        for path in expand(spec):
            if path != "-" and not os.path.isfile(path):  # a digest is taken of it before it is read
                raise UsageError(f"{shown(path)} is no file, and a text is read twice", fix=f"cat it to {lang}=-")
            file = _identity(path)
            other = owners.get(file)
            if other is not None:
                what = f"is named twice for {lang}" if other == lang else f"is the text of both {other} and {lang}"
                raise UsageError(f"{shown(path)} {what}", fix="each file once")
            owners[file] = lang
            corpora.setdefault(lang, []).append(path)
    return corpora


def _identity(path: str) -> object:
    """Equal for paths of one file, through links too; stdin is itself."""
    if path == "-":
        return path
    status = os.stat(path)
    return status.st_dev, status.st_ino


def corpora_digests(corpora: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """lang -> sha256 over the digests of its files. UsageError if two languages have the same bytes."""
    digests: dict[str, str] = {}
    for lang, paths in corpora.items():
        digest = hashlib.sha256("\n".join(sha256_file(path) for path in paths).encode()).hexdigest()
        twin = next((other for other, known in digests.items() if known == digest), None)
        if twin is not None:
            raise UsageError(f"{twin} and {lang} have the same text, byte for byte", fix="each language its own text")
        digests[lang] = digest
    return digests


def contexts(
    paths: Sequence[str],
    documents: Documents,
    counts: CorpusCounts,
    *,
    seq_len: int,
    min_doc_tokens: int,
    max_tokens: int,
    rejects: Rejects,
    limit: int | None = None,
    part: Part | None = None,
    every: int | None = None,
    workers: int = 0,
) -> Iterator[list[Context]]:
    """Windows of the contexts of one language that are in `part`, until the corpus has given `max_tokens`.

    `counts` is filled on the way, for the whole corpus. The last context is cut so that no more is read. A window ends
    where `counts.num_tokens` passes a multiple of `every`.
    """
    part = part or Part()
    reader = RecordReader(list(paths), check=check_text, rejects=rejects, limit=limit)
    for records in record_batches(reader):
        window: list[Context] = []
        encoded = documents.encode([{"text": record.value["text"]} for record in records], workers=workers)
        for record, doc in zip(records, encoded, strict=True):
            if isinstance(doc, SeaError):
                rejects.refuse(record, doc, reason="not usable")
                continue
            counts.keep_sample(record.value["text"])
            for first in range(0, len(doc.ids), seq_len):
                room = max_tokens - counts.num_tokens
                ids = doc.ids[first : first + min(seq_len, room)]
                if room < min_doc_tokens:
                    yield window
                    return
                if len(ids) < min_doc_tokens:
                    counts.num_short += 1
                    continue
                if part.has(counts.num_docs):
                    window.append(Context(ids, counts.num_docs % 2))
                before = counts.num_tokens
                counts.num_docs += 1
                counts.num_tokens += len(ids)
                if every is not None and before // every != counts.num_tokens // every:
                    yield window
                    window = []
        yield window


def check_has_text(
    lang: str, paths: Sequence[str], documents: Documents, *, min_doc_tokens: int, limit: int | None, on_error: str
) -> None:
    """SeaError for a corpus without one context of so many tokens, found by reading to the first: before any pass.

    `on_error` "fail": and for a bad record on the way to it.
    """
    policy = "fail" if on_error == "fail" else "skip"
    counts = CorpusCounts()
    for records in (_FIRST_RECORDS, None):  # a whole window of records takes seconds to tokenise
        most = min((number for number in (records, limit) if number is not None), default=None)
        counts = CorpusCounts()
        found = contexts(
            paths, documents, counts, seq_len=max(_PIECE, min_doc_tokens), min_doc_tokens=min_doc_tokens,
            max_tokens=max(_PIECE, min_doc_tokens), rejects=Rejects(policy), limit=most,
        )  # fmt: skip
        if any(counts.num_docs for _ in found):
            return
    short = f", {counts.num_short:,} too short" if counts.num_short else ""
    raise SeaError(f"{lang}: no text to measure{short}", where=shown_together(paths))


def packed_batches(
    window: Sequence[Context], *, seq_len: int, batch_tokens: int, pad_id: int, device: torch.device | str
) -> Iterator[PackedBatch]:
    """The contexts of a window packed into rows of at most `seq_len` tokens, about `batch_tokens` in a batch."""
    num_rows = max(1, batch_tokens // seq_len)
    rows = pack([len(context.ids) for context in window], seq_len)
    for first in range(0, len(rows), num_rows):
        spans: list[Span] = []
        laid: list[list[tuple[np.ndarray, np.ndarray]]] = []
        for number, row in enumerate(rows[first : first + num_rows]):
            laid.append([])
            at = 0
            for index, start, length in row:
                assert start == 0 and length == len(window[index].ids)  # none is longer than a row
                laid[-1].append((window[index].ids, np.ones(length, np.uint8)))
                spans.append(Span(number, at, at + length, window[index].half))
                at += length
        yield PackedBatch(make_batch(laid, None, pad_id, device), tuple(spans))
