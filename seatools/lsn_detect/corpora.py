"""The text of each language: from `--lang th=FILE` to batches of packed rows that remember their documents.

A document is BOS (where the tokenizer has one) and its text, without EOS. Records are read, encoded and packed a
window at a time (1,024 documents or 4 MiB), so memory does not grow with the corpus.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch

from seatools.engine.rows import Batch, make_batch
from seatools.lsn_detect.options import DetectOptions
from seatools.streams.batches import record_batches
from seatools.streams.digests import sha256_file
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.inputs import expand, parse_labelled, same_file, shown
from seatools.streams.records import RecordReader, Rejects, check_text
from seatools.text.documents import Documents
from seatools.text.packing import pack

_SAMPLE_CHARACTERS = 200_000  # for the check of the script


class Span(NamedTuple):
    """Tokens [start, stop) of one row of a batch: one document, or a piece of one that was longer than a row."""

    row: int
    start: int
    stop: int


@dataclass(frozen=True)
class PackedBatch:
    """Rows for the model and where their documents lie; padding is in no span."""

    batch: Batch
    spans: tuple[Span, ...]

    @property
    def num_tokens(self) -> int:
        return sum(span.stop - span.start for span in self.spans)


@dataclass
class CorpusCounts:
    """What was read of one language."""

    num_docs: int = 0
    num_tokens: int = 0
    num_short: int = 0
    """Documents left out because they were too short."""
    sample: list[str] = field(default_factory=list)
    _characters: int = 0

    def keep_sample(self, text: str) -> None:
        """Remember the beginning of the corpus."""
        if self._characters < _SAMPLE_CHARACTERS:
            self.sample.append(text[: _SAMPLE_CHARACTERS - self._characters])
            self._characters += len(self.sample[-1])


def parse_corpora(arguments: Sequence[str]) -> dict[str, list[str]]:
    """`--lang` arguments as lang -> files. UsageError for one without label, and for a file of two languages."""
    corpora: dict[str, list[str]] = {}
    for argument in arguments:
        lang, spec = parse_labelled(argument)
        if lang is None:
            raise UsageError(f'--lang "{argument}" has no language', fix="--lang th=FILE")
        for path in expand(spec):
            for other, paths in corpora.items():
                if any(same_file(path, known) for known in paths):
                    what = f"is named twice for {lang}" if other == lang else f"is the text of both {other} and {lang}"
                    raise UsageError(f"{shown(path)} {what}", fix="each file once")
            corpora.setdefault(lang, []).append(path)
    return corpora


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


def token_documents(
    paths: Sequence[str],
    documents: Documents,
    options: DetectOptions,
    counts: CorpusCounts,
    *,
    rejects: Rejects,
    workers: int = 0,
) -> Iterator[list[np.ndarray]]:
    """Windows of documents (ids uint32 [n]) of one language until `max_tokens`; `counts` is filled on the way.

    For PLND a document is cut to one row and left out if too short; for LAPE, which knows no documents, the last one
    is cut so that exactly `max_tokens` are read.
    """
    reader = RecordReader(list(paths), check=check_text, rejects=rejects, limit=options.limit)
    for records in record_batches(reader):
        window: list[np.ndarray] = []
        encoded = documents.encode([{"text": record.value["text"]} for record in records], workers=workers)
        for record, doc in zip(records, encoded, strict=True):
            if isinstance(doc, SeaError):
                rejects.refuse(record, doc, reason="not usable")
                continue
            if options.method == "plnd" and len(doc.ids) < options.min_doc_tokens:
                counts.num_short += 1
                continue
            room = options.seq_len if options.method == "plnd" else options.max_tokens - counts.num_tokens
            window.append(doc.ids[:room])
            counts.keep_sample(record.value["text"])
            counts.num_docs += 1
            counts.num_tokens += len(window[-1])
            if counts.num_tokens >= options.max_tokens:
                yield window
                return
        yield window


def packed_batches(
    windows: Iterable[Sequence[np.ndarray]],
    *,
    seq_len: int,
    batch_tokens: int,
    pad_id: int,
    device: torch.device | str,
) -> Iterator[PackedBatch]:
    """The documents of each window packed into rows of at most `seq_len` tokens, about `batch_tokens` in a batch."""
    num_rows = max(1, batch_tokens // seq_len)
    for docs in windows:
        rows = pack([len(doc) for doc in docs], seq_len)
        for first in range(0, len(rows), num_rows):
            spans: list[Span] = []
            laid: list[list[tuple[np.ndarray, np.ndarray]]] = []
            for number, row in enumerate(rows[first : first + num_rows]):
                laid.append([])
                at = 0
                for doc, start, length in row:
                    laid[-1].append((docs[doc][start : start + length], np.zeros(length, np.uint8)))
                    spans.append(Span(number, at, at + length))
                    at += length
            yield PackedBatch(make_batch(laid, None, pad_id, device), tuple(spans))
