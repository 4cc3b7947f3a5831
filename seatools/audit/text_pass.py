"""One pass over the text: batches are encoded while others are read and counted.

The engines leave Python's lock alone while they encode, so two threads keep them busy and this one reads, lays out and
counts. Memory: three batches of 2 MB of text, about 90 MB, whatever the size of the files.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from seatools.audit.drift import changed_docs
from seatools.audit.measures import BatchSpans, TextCounts, TokenCounts
from seatools.audit.report import config_of
from seatools.audit.segmenters import segmenter_for
from seatools.audit.token_batch import Encoded
from seatools.text.fast_encode import FastEncoder
from seatools.text.piece_table import PieceTable
from seatools.text.text_batch import TextBatch
from seatools.text.tokenizer import Tokenizer

_ENCODERS = 2  # batches in the engine at once: while one's ids become Python's, which keeps its lock, the other goes on
_CHECKED_BYTES = 64_000  # of each language, encoded by both engines


class Audited:
    """A tokenizer with its tallies. `fast`: encode with gigatoken, checked on each language's first text."""

    def __init__(self, tokenizer: Tokenizer, *, workers: int = 0, fast: bool = False) -> None:
        self.tokenizer, self.workers = tokenizer, workers
        self._fast = FastEncoder(tokenizer) if fast else None
        self.tallies: dict[str, TokenCounts] = {}

    @cached_property
    def table(self) -> PieceTable:
        return PieceTable(self.tokenizer)

    @cached_property
    def config(self) -> dict[str, Any]:
        """What its records say of it; the digest takes 0.3 s for Qwen2."""
        return config_of(self.tokenizer)

    def encode(self, texts: Sequence[str], *, check: bool) -> Encoded:
        """Errors: SeaError for a lone surrogate, and where `check` finds that the fast engine is wrong."""
        if self._fast is None:
            return Encoded.of(self.tokenizer.encode_batch(texts, workers=self.workers))
        if check:
            self._fast.check(_head(texts))
        return Encoded(*self._fast.encode(texts))

    def tally(self, lang: str) -> TokenCounts:
        if lang not in self.tallies:
            self.tallies[lang] = TokenCounts(self.table)
        return self.tallies[lang]


@dataclass(frozen=True, kw_only=True)
class Extras:
    """What costs more and is asked for."""

    identify: bool = False
    """CLD2 on every document."""
    segment: bool = False
    """Segmenters where there is one for the language."""


def count(
    batches: Iterable[tuple[str, list[str]]],
    audited: Sequence[Audited],
    extras: Extras,
    *,
    reference: Mapping[str, Audited],
) -> dict[str, TextCounts]:
    """Count (language, documents) batches into the tallies of each tokenizer; returns what the text itself is.

    `reference`: a language's one more tokenizer, for that language only.
    """
    counts: dict[str, TextCounts] = {}
    numbers: list[np.ndarray] = []
    waiting: deque[tuple[str, list[Audited], TextBatch, BatchSpans, Future[list[Encoded]]]] = deque()

    def finish() -> None:
        lang, encoders, batch, spans, future = waiting.popleft()
        encoded = future.result()
        for one, result in zip(encoders, encoded, strict=True):
            one.tally(lang).add(batch, result, spans)
        for position in range(1, len(audited)):
            changed = changed_docs(encoded[0], encoded[position], numbers[0], numbers[position])
            audited[position].tally(lang).num_changed.add(changed.astype(np.int64))

    with _threads(min(_ENCODERS, audited[0].workers or _ENCODERS)) as pool:
        for lang, texts in batches:
            is_new = lang not in counts
            if is_new:
                counts[lang] = TextCounts(segmenter_for(lang) if extras.segment else None)
            encoders = [*audited, *([reference[lang]] if lang in reference else [])]
            future = pool.submit(_encode_all, encoders, texts, is_new)
            if len(counts) == 1 and is_new:
                numbers = _prepare(audited)
            batch = TextBatch(texts)
            waiting.append((lang, encoders, batch, counts[lang].add(batch), future))
            if extras.identify:
                counts[lang].identify(texts, lang)
            if len(waiting) > _ENCODERS:
                finish()
        while waiting:
            finish()
    return counts


def _prepare(audited: Sequence[Audited]) -> list[np.ndarray]:
    """What can be made while an engine is at work: tables, digests, and the pieces' numbers, where drift needs them."""
    known: dict[bytes, int] = {}
    for one in audited:
        _ = one.table, one.config
    return [one.table.numbers(known) for one in audited] if len(audited) > 1 else []


def _encode_all(audited: Sequence[Audited], texts: Sequence[str], check: bool) -> list[Encoded]:
    return [one.encode(texts, check=check) for one in audited]


@contextlib.contextmanager
def _threads(number: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that, when something fails, do no more than they have begun."""
    pool = ThreadPoolExecutor(number)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _head(texts: Sequence[str]) -> list[str]:
    """The first texts, about _CHECKED_BYTES of them; of a longer one its beginning."""
    head: list[str] = []
    size = 0
    for text in texts:
        if size >= _CHECKED_BYTES:
            break
        head.append(text[:_CHECKED_BYTES])
        size += len(text)
    return head
