"""Pairwise judgement in both orders (SeaLLMs, arXiv 2312.00738, section 3.3): what changes with the order is dropped.

The judge model reads criteria, prompt and both answers, and then either label. Nothing is decoded: the verdict of one
order is the difference of the log-probabilities of the two labels, and the pair is kept only if both orders name the
same answer. A small judge prefers a label whatever it reads, by an amount that depends on prompt and lengths;
`calibrate` takes that out first: what the judge says of each answer against itself, where nothing but the label can
speak (contextual calibration, Zhao et al. 2021, with the pair's own answers as the null input). Orders that agreed,
20 pairs each: stories260K 0 % without, 85 % with; the demo's model 0 % and 40 to 47 %. A coin gives 50 %.
Cost: four readings of each pair, eight with calibration.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from seatools.engine.sequences import score_documents
from seatools.streams.errors import SeaError
from seatools.text.documents import Documents, TokenizedDoc

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LABELS = ("A", "B")


@dataclass(frozen=True)
class Question:
    """One comparison to make: a prompt as text, and two answers."""

    prompt: str
    first: str
    second: str


@dataclass(frozen=True)
class Verdict:
    """Both orders' log-odds that the answer shown first is better, and what follows from them."""

    forward: float  # log p(A) - log p(B), `first` shown as A
    backward: float  # log p(A) - log p(B), `second` shown as A

    @property
    def agrees(self) -> bool:
        """Both orders name the same answer, neither is a tie."""
        return self.forward * self.backward < 0

    @property
    def first_wins(self) -> bool:
        return self.forward > 0

    @property
    def margin(self) -> float:
        """Mean log-odds of the winner over the two orders."""
        return abs(self.forward - self.backward) / 2


def judging_text(criteria: str, question: Question, *, swapped: bool) -> str:
    """What the judge reads, up to the label."""
    shown = (question.second, question.first) if swapped else (question.first, question.second)
    return (
        f"{criteria.strip()}\n\nQuestion:\n{question.prompt.strip()}\n\nAnswer {LABELS[0]}:\n{shown[0].strip()}\n\n"
        f"Answer {LABELS[1]}:\n{shown[1].strip()}\n\nThe better answer is Answer"
    )


def judge(
    model: PreTrainedModel,
    documents: Documents,
    questions: Sequence[Question],
    criteria: Sequence[str],
    *,
    pad_id: int,
    calibrate: bool,
    batch_tokens: int = 8192,
    advance: Callable[[int], None] | None = None,
) -> list[Verdict]:
    """A verdict for each question; `criteria[i]` is the text for question i. `advance` is told of readings done."""
    odds = _log_odds(model, documents, questions, criteria, pad_id, batch_tokens, advance)
    if calibrate:
        nulls = [Question(q.prompt, same, same) for q in questions for same in (q.first, q.second)]
        texts = [text for text in criteria for _ in range(2)]
        own = _log_odds(model, documents, nulls, texts, pad_id, batch_tokens, advance, orders=(False,))
        odds = odds - own.reshape(-1, 2).mean(axis=1, keepdims=True)
    return [Verdict(float(forward), float(backward)) for forward, backward in odds]


def _log_odds(
    model: PreTrainedModel,
    documents: Documents,
    questions: Sequence[Question],
    criteria: Sequence[str],
    pad_id: int,
    batch_tokens: int,
    advance: Callable[[int], None] | None,
    orders: Sequence[bool] = (False, True),
) -> np.ndarray:
    """[questions, orders] float64: log p(A) - log p(B), in the order given and (swapped) in the other."""
    docs: list[TokenizedDoc] = []
    for question, text in zip(questions, criteria, strict=True):
        docs += readings(documents, question, text, orders)
    scores = score_documents(
        model, [doc.document for doc in docs], pad_id, batch_tokens=batch_tokens, advance=advance
    ).reshape(-1, len(orders), 2)  # [question, order, label]
    odds = scores[:, :, 0] - scores[:, :, 1]
    if not np.isfinite(odds).all():
        raise SeaError("the judge's log-probabilities are not finite", fix="try --dtype bf16 or fp32")
    return odds


def readings(
    documents: Documents, question: Question, criteria: str, orders: Sequence[bool] = (False, True)
) -> list[TokenizedDoc]:
    """What the judge reads for one question: for each order (swapped or not) the text with either label."""
    prompts = (judging_text(criteria, question, swapped=swapped) for swapped in orders)
    return [doc for prompt in prompts for doc in labelled(documents, prompt)]


def labelled(documents: Documents, prompt: str) -> list[TokenizedDoc]:
    """The judging text with each label as its continuation, through the chat template if there is one.

    Only the tokens in which the two differ are trained, and nothing follows them: the end of a turn, or EOS, after the
    label says nothing about the answers. What a template writes before the label is the same for both.
    """
    if documents.template is None:
        docs = [documents.encode_completion(prompt, f" {label}") for label in LABELS]
    else:
        docs = [documents.encode_completion([{"role": "user", "content": prompt}], label) for label in LABELS]
    first, second = (doc.ids for doc in docs)
    start = _num_equal(first, second)
    after = _num_equal(first[start:][::-1], second[start:][::-1])
    found = []
    for doc in docs:
        end = len(doc.ids) - after
        if end == start:
            raise SeaError(f"the tokenizer cannot tell the labels {' and '.join(LABELS)} apart")
        mask = np.zeros(end, dtype=np.uint8)
        mask[start:] = 1
        found.append(TokenizedDoc(doc.ids[:end], mask))
    return found


def _num_equal(first: np.ndarray, second: np.ndarray) -> int:
    """How many ids two arrays share at their beginning."""
    length = min(len(first), len(second))
    different = np.flatnonzero(first[:length] != second[:length])
    return int(different[0]) if len(different) else length


def agreement(verdicts: Sequence[Verdict]) -> float:
    """Share of verdicts whose two orders agree; a judge that guesses gets 0.5."""
    return float(np.mean([verdict.agrees for verdict in verdicts])) if verdicts else float("nan")
