"""One answer at a time: Self-Rewarding's additive five points (arXiv 2401.10020, figure 2), without sampling.

There the judge writes its points several times and they are averaged; here the average is exact: the expectation of
the points under the probabilities of the six labels 0 to 5, which are read in one pass. The answer with most points is
chosen, that with fewest rejected, equal ones are dropped. Cost: one reading an answer, the prompt computed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from seatools.engine.prefix_scores import prefix_scores
from seatools.judge.instructions import Instructions
from seatools.judge.judging_text import rating_text
from seatools.judge.labels import POINTS, labelled
from seatools.streams.errors import SeaError
from seatools.text.documents import Documents, TokenizedDoc

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def rating_docs(
    documents: Documents, answers: Sequence[tuple[str, str]], words: Sequence[Instructions]
) -> list[TokenizedDoc]:
    """What the judge reads: for each (prompt, answer) a document with each of the points."""
    chat = documents.template is not None
    texts = [rating_text(own, *each, chat=chat) for each, own in zip(answers, words, strict=True)]
    return [doc for docs in labelled(documents, texts, POINTS) for doc in docs]


def expected_points(
    model: PreTrainedModel, documents: Documents, answers: Sequence[tuple[str, str]], words: Sequence[Instructions], *,
    batch_tokens: int | None = None,
) -> np.ndarray:  # fmt: skip
    """[answers] float64 from 0 to 5: the mean of the points under the model, for each (prompt, answer)."""
    docs = rating_docs(documents, answers, words)
    scores = prefix_scores(model, [doc.document for doc in docs], batch_tokens=batch_tokens).reshape(-1, len(POINTS))
    if not np.isfinite(scores).all():
        raise SeaError("the judge's log-probabilities are not finite", fix="try --dtype bf16 or fp32")
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return weights @ np.arange(len(POINTS)) / weights.sum(axis=1)
