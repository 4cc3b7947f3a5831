"""How many nats a model spends on each text: the sums behind bits per byte, one figure a text so that they can be drawn
again.

Texts are read in the windows of `text_windows.py`, each token scored exactly once. The readings are laid out once and
scored as often as the model is changed: `eval --deactivate` and `lsn-detect verify` run the same ones again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from seatools.engine.rows import Document
from seatools.engine.sequences import score_documents
from seatools.engine.text_windows import window_document, windows

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Readings:
    """What the model reads of `num_texts` texts: windows, and int64 [windows] the text that each belongs to."""

    documents: tuple[Document, ...]
    owners: np.ndarray
    num_texts: int


def readings_of(texts: Sequence[np.ndarray], *, context_id: int, window: int, stride: int) -> Readings:
    """The readings of tokenised texts (int [tokens] each, without BOS and EOS); see `text_windows`."""
    documents: list[Document] = []
    owners: list[int] = []
    for owner, ids in enumerate(texts):
        for span in windows(len(ids), window, stride):
            documents.append(window_document(ids, span, context_id))
            owners.append(owner)
    return Readings(tuple(documents), np.array(owners, dtype=np.int64), len(texts))


def text_nats(
    model: PreTrainedModel,
    readings: Readings,
    pad_id: int,
    *,
    batch_tokens: int = 8192,
    advance: Callable[[int], None] | None = None,
) -> np.ndarray:
    """-ln p of each text, float64 [texts]; not finite where the model's log-probabilities are not."""
    found = score_documents(model, readings.documents, pad_id, batch_tokens=batch_tokens, advance=advance)
    return -np.bincount(readings.owners, weights=found, minlength=readings.num_texts)
