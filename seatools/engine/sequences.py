"""Log-probability of whole answers, several of them packed into one row so that short ones waste nothing.

log p(answer | context) is the sum over the trained tokens of log p(token | what stands before it), in fp32. Documents
are laid into rows as long as the longest of the batch, longest first into the first row with room.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from seatools.engine.loss import LogProbs, target_log_probs
from seatools.engine.rows import Batch, Document, make_batch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TargetLogProbs = Callable[["PreTrainedModel", Batch], LogProbs]


def sequence_log_probs(
    model: PreTrainedModel, docs: Sequence[Document], pad_id: int, *, log_probs: TargetLogProbs = target_log_probs
) -> torch.Tensor:
    """Summed log-probabilities [len(docs)] float32 of the trained tokens of each (ids, loss_mask), differentiable.

    `log_probs` runs the model over a batch; another than the usual serves a model that is sharded over ranks. Without
    documents the model runs over a token of padding, so that every rank makes the same calls.
    """
    length = max((len(ids) for ids, _ in docs), default=1)
    rows: list[list[int]] = []
    room: list[int] = []
    for i in sorted(range(len(docs)), key=lambda i: -len(docs[i][0])):
        size = len(docs[i][0])
        place = next((r for r, free in enumerate(room) if free >= size), None)
        if place is None:
            rows.append([])
            room.append(length)
            place = len(rows) - 1
        rows[place].append(i)
        room[place] -= size
    batch = make_batch([[docs[i] for i in row] for row in rows or [[]]], length, pad_id, model.device)
    owner = np.zeros((len(batch.input_ids), length), dtype=np.int64)
    for r, row in enumerate(rows):
        at = 0
        for i in row:
            owner[r, at : at + len(docs[i][0])] = i
            at += len(docs[i][0])
    found = log_probs(model, batch)
    owners = torch.from_numpy(owner).to(found.row.device)[found.row, found.column]
    sums = torch.zeros(len(docs), dtype=torch.float32, device=found.values.device)
    return sums.index_add(0, owners, found.values)


def score_documents(
    model: PreTrainedModel,
    docs: Sequence[Document],
    pad_id: int,
    *,
    batch_tokens: int = 8192,
    advance: Callable[[int], None] | None = None,
    log_probs: TargetLogProbs = target_log_probs,
) -> np.ndarray:
    """`sequence_log_probs` [len(docs)] float64 of any number of documents, without gradients, in batches.

    A batch holds documents of similar length, about `batch_tokens` tokens in all; batching changes a score by
    rounding only.
    """
    values = np.zeros(len(docs), dtype=np.float64)
    batch: list[int] = []
    size = 0
    order = sorted(range(len(docs)), key=lambda i: len(docs[i][0]))
    with torch.no_grad():  # not inference_mode: what the model caches meanwhile may be trained through later
        for place, i in enumerate(order):
            batch.append(i)
            size += len(docs[i][0])
            if size >= batch_tokens or place == len(order) - 1:
                found = sequence_log_probs(model, [docs[j] for j in batch], pad_id, log_probs=log_probs)
                values[batch] = found.double().cpu().numpy()
                if advance is not None:
                    advance(len(batch))
                batch, size = [], 0
    return values
