"""Bits per byte of held-out text while a model trains, in the figures of `sea eval MODEL perplexity`.

Same texts, same windows (`text_windows.py`), same sums: a run's curve ends where `eval` begins. Texts are tokenised
once, before training. The readings (windows) are sorted by length and dealt to the ranks one by one, so that each rank
has its share of long ones; batches hold about `batch_tokens` tokens. Before each batch the ranks agree whether to stop,
so that a signal never waits for a whole evaluation and no rank is left alone in a collective call.
Cost: the forward passes; 9 bytes a token of held text, twice that for texts longer than a window.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from seatools.engine.loss import target_log_probs
from seatools.engine.rows import Document
from seatools.engine.sequences import TargetLogProbs, score_documents
from seatools.engine.text_windows import window_document, windows
from seatools.streams.errors import SeaError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BATCH_TOKENS = 8192


@dataclass(frozen=True)
class EvalSet:
    """Held-out text of one language: readings of the model over it, and how many bytes and tokens they score."""

    name: str
    readings: tuple[Document, ...]
    num_bytes: int
    num_tokens: int


def eval_set(
    name: str, texts: Sequence[np.ndarray], num_bytes: Sequence[int], *, context_id: int, window: int, stride: int
) -> EvalSet:
    """The set `name` of tokenised texts, int [tokens] each without BOS and EOS, of `num_bytes` UTF-8 bytes each.

    `context_id` (BOS, else EOS) stands before every window of `window` tokens; see `text_windows`.
    Raises SeaError for a set without a token.
    """
    if len(texts) != len(num_bytes):
        raise ValueError(f"{len(texts)} texts but {len(num_bytes)} byte counts")
    readings = tuple(
        window_document(np.asarray(ids, dtype=np.int64), span, context_id)
        for ids in texts
        if len(ids)
        for span in windows(len(ids), window, stride)
    )
    if not readings:
        raise SeaError(f"no text to evaluate for {name}")
    return EvalSet(name, readings, sum(num_bytes), sum(map(len, texts)))


def evaluate_sets(
    model: PreTrainedModel,
    sets: Sequence[EvalSet],
    *,
    pad_id: int,
    batch_tokens: int = BATCH_TOKENS,
    rank: int = 0,
    ranks: int = 1,
    sum_over_ranks: Callable[[Tensor], Tensor] | None = None,
    stop: Callable[[], bool] = lambda: False,
    log_probs: TargetLogProbs = target_log_probs,
) -> dict[str, dict[str, Any]] | None:
    """{"th": {"bits_per_byte", "loss": nats a token, "tokens"}} of each set under the model as it is now.

    Leaves mode and gradients of the model alone. `stop` is asked before each batch; None when it said yes on any rank.
    With several ranks, `sum_over_ranks` adds a tensor up over them, in place or not, and every rank makes the same
    calls. `log_probs` runs the model over a batch, without gradients. Raises SeaError for log-probabilities that are
    not finite.
    """
    total = sum_over_ranks or (lambda tensor: tensor)
    readings = [(owner, document) for owner, one in enumerate(sets) for document in one.readings]
    order = sorted(range(len(readings)), key=lambda i: len(readings[i][1][0]))
    mine = [readings[i] for i in order[rank::ranks]]
    batches = _batches([len(document[0]) for _, document in mine], batch_tokens)
    nats = np.zeros(len(sets), dtype=np.float64)
    training = model.training
    model.eval()
    try:
        # Every rank takes as many turns as the one with most batches: each turn is one agreement on stopping, and under
        # FSDP one forward pass that gathers weights on all ranks; a rank with nothing left repeats a reading.
        for turn in range(_most(len(batches), rank, ranks, total, model.device)):
            if float(total(torch.tensor(float(stop()), dtype=torch.float64, device=model.device))):
                return None
            chosen = [mine[i] for i in batches[turn]] if turn < len(batches) else []
            documents = [document for _, document in chosen] or [mine[0][1] if mine else readings[0][1]]
            scores = score_documents(model, documents, pad_id, batch_tokens=1 << 62, log_probs=log_probs)
            for (owner, _), score in zip(chosen, scores, strict=False):
                nats[owner] -= score
    finally:
        model.train(training)
    sums = total(torch.from_numpy(nats).to(model.device)).tolist()
    for one, value in zip(sets, sums, strict=True):
        if not math.isfinite(value):
            raise SeaError(f"evaluation of {one.name}: the model gives log-probabilities that are not finite")
    return {
        one.name: {
            "bits_per_byte": value / (math.log(2) * one.num_bytes), "loss": value / one.num_tokens,
            "tokens": one.num_tokens,
        }
        for one, value in zip(sets, sums, strict=True)
    }  # fmt: skip


def _most(batches: int, rank: int, ranks: int, total: Callable[[Tensor], Tensor], device: torch.device) -> int:
    """The largest number of batches of any rank, known to all."""
    counts = torch.zeros(ranks, dtype=torch.float64, device=device)
    counts[rank] = batches
    return int(max(total(counts).tolist()))


def _batches(lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Consecutive places, in batches that end once they hold `batch_tokens`."""
    batches: list[list[int]] = []
    size = batch_tokens
    for place, length in enumerate(lengths):
        if size >= batch_tokens:
            batches.append([])
            size = 0
        batches[-1].append(place)
        size += length
    return batches
