"""Pairwise judgement in both orders (SeaLLMs, arXiv 2312.00738, section 3.3): what changes with the order is dropped.

The judge model reads criteria, prompt and both answers, and then either label. Nothing is decoded: the verdict of one
order is the difference of the log-probabilities of the two labels, and the pair is kept only if both orders name the
same answer. A small judge prefers a label whatever it reads, by an amount that depends on prompt and lengths;
`calibrate` takes that out first: what the judge says of each answer against itself, where nothing but the label can
speak (contextual calibration, Zhao et al. 2021, with the pair's own answers as the null input). Orders that agreed, by
an earlier wording, 20 pairs each: stories260K 0 % without, 85 % with; the demo's model 0 and 40 to 47 %; a coin: 50 %.
Cost: the readings of a pair are one tree (engine/prefix_scores.py): criteria and prompt are computed once, each answer
once in the first place and, behind each of those, once or (calibrated) twice in the second.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from seatools.engine.prefix_scores import prefix_scores
from seatools.judge.instructions import Instructions
from seatools.judge.judging_text import Question, comparison_text
from seatools.judge.labels import labelled
from seatools.streams.errors import SeaError
from seatools.text.documents import Documents, TokenizedDoc

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def readings(question: Question, *, calibrate: bool) -> list[Question]:
    """In which orders a pair is read: as given, swapped and, to calibrate, each answer against itself."""
    found = [question, question.swapped]
    if calibrate:
        found += [Question(question.prompt, same, same) for same in (question.first, question.second)]
    return found


def reading_docs(
    documents: Documents, questions: Sequence[Question], words: Sequence[Instructions], labels: tuple[str, str], *,
    calibrate: bool,
) -> list[TokenizedDoc]:  # fmt: skip
    """What the judge reads: for each question and each of its `readings` a document with either label."""
    chat = documents.template is not None
    texts = [
        comparison_text(own, each, labels, chat=chat)
        for question, own in zip(questions, words, strict=True)
        for each in readings(question, calibrate=calibrate)
    ]
    return [doc for docs in labelled(documents, texts, labels) for doc in docs]


def pair_log_odds(
    model: PreTrainedModel, documents: Documents, questions: Sequence[Question], words: Sequence[Instructions],
    labels: tuple[str, str], *, calibrate: bool, batch_tokens: int | None = None,
) -> np.ndarray:  # fmt: skip
    """[questions, 2] float64: log p(first label) - log p(second), in the order given and in the other.

    Calibrated: less the mean of what the judge says of each answer against itself. SeaError if not finite.
    """
    docs = reading_docs(documents, questions, words, labels, calibrate=calibrate)
    scores = prefix_scores(model, [doc.document for doc in docs], batch_tokens=batch_tokens)
    scores = scores.reshape(len(questions), -1, 2)  # [question, reading, label]
    odds = scores[:, :, 0] - scores[:, :, 1]
    if not np.isfinite(odds).all():
        raise SeaError("the judge's log-probabilities are not finite", fix="try --dtype bf16 or fp32")
    return odds[:, :2] - odds[:, 2:].mean(axis=1, keepdims=True) if calibrate else odds
