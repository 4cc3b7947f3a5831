"""Bits per byte of any number of texts under a language model: how much each looks like what the model was trained on.

For filtering as CCNet does (Wenzek et al., LREC 2020, with KenLM; here any causal language model), so bytes and not
tokens divide: the figures of languages and tokenizers compare. It is eval's perplexity of each text alone with its
longest stride: the context token (BOS, else EOS) stands before every window, each text token counts once, and windows
stand side by side except that the last reaches back to be as long as the others.
Texts are read some thousands at a time and scored by length (`sequences.score_documents`); what else is scored changes
a score by rounding only. Memory: the model, one buffer of texts with their tokens, 4 bytes a text.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from seatools.engine.load import max_positions, open_model
from seatools.engine.rows import Document
from seatools.engine.sequences import score_documents as sequence_scores
from seatools.streams.batches import batches
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.progress import Progress

BUFFER_TEXTS = 4096
BUFFER_CHARS = 1 << 24


class TextEncoder(Protocol):
    """What is asked of a tokenizer; `text.tokenizer.Tokenizer` is one. The two floors meet in token arrays only."""

    vocab_size: int
    pad_id: int | None

    @property
    def context_id(self) -> int:
        """The token put before a document."""

    def encode_batch(self, texts: Sequence[str], *, special: bool = False, workers: int = 0) -> list[list[int]]:
        """The ids of each text, without BOS or EOS."""


def score_documents(
    model: str | Path,
    texts: Iterable[str],
    *,
    tokenizer: TextEncoder,
    device: str = "auto",
    dtype: str = "auto",
    seq_len: int = 512,
    batch_tokens: int = 16384,
    workers: int = 0,
    quiet: bool = False,
) -> np.ndarray:
    """Bits per byte [texts] float32 of each text; nan for one that the tokenizer makes no token of.

    `model`: a Hugging Face folder; `tokenizer`: its own, from `load_tokenizer(model)`. `seq_len`: tokens of a window,
    its context token included, at most the model's positions. `device`, `dtype` as on the command line.
    Raises SeaError for a model that cannot be loaded, a tokenizer with more ids than the model has rows or without BOS
    and EOS, a lone surrogate, and log-probabilities that are not finite.
    """
    if seq_len < 2:
        raise UsageError(f"windows of {seq_len} tokens leave no room", fix="at least 2: one context token, one text")
    if batch_tokens < 1:
        raise UsageError(f"batches of {batch_tokens} tokens: at least 1")
    context_id = tokenizer.context_id
    loaded = open_model(model, device=device, dtype=dtype, vocab_size=tokenizer.vocab_size)
    room = min(seq_len, max_positions(loaded.config) or seq_len) - 1
    found = [np.empty(0, dtype=np.float32)]
    with Progress("scoring", unit="docs", quiet=quiet) as progress:
        for buffer in batches(texts, len, max_size=BUFFER_CHARS, max_items=BUFFER_TEXTS):
            windows: list[Document] = []
            owners: list[int] = []
            for owner, ids in enumerate(tokenizer.encode_batch(buffer, workers=workers)):
                for window in _windows(np.asarray(ids, dtype=np.int64), room, context_id):
                    windows.append(window)
                    owners.append(owner)
            log_probs = sequence_scores(loaded, windows, tokenizer.pad_id or 0, batch_tokens=batch_tokens)
            scored = np.bincount(owners, minlength=len(buffer)) > 0
            nats = -np.bincount(owners, weights=log_probs, minlength=len(buffer))
            if not np.isfinite(nats).all():
                number = sum(map(len, found)) + int(np.flatnonzero(~np.isfinite(nats))[0])
                raise SeaError(
                    f"the model gives log-probabilities that are not finite for text {number} (counted from 0)",
                    where=str(model),
                    fix="try --dtype bf16 or fp32",
                )
            num_bytes = np.array([len(text.encode("utf-8")) for text in buffer], dtype=np.float64)
            with np.errstate(invalid="ignore", divide="ignore"):
                found.append(np.where(scored, nats / (math.log(2) * num_bytes), np.nan).astype(np.float32))
            progress.advance(len(buffer))
    return np.concatenate(found)


def _windows(ids: np.ndarray, room: int, context_id: int) -> Iterator[Document]:
    """(ids, loss_mask) of the windows of a text: the context token, then `room` tokens, of which the new ones count."""
    for done in range(0, len(ids), room):
        end = min(done + room, len(ids))
        read = np.concatenate([np.array([context_id], dtype=np.int64), ids[max(0, end - room) : end]])
        mask = np.zeros(len(read), dtype=np.uint8)
        mask[len(read) - (end - done) :] = 1
        yield read, mask
