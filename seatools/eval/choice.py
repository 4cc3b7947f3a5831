"""Multiple choice by log-likelihood: the answer is the choice that the model finds likeliest after the question.

acc takes the largest sum of log-probabilities, acc_norm the largest sum divided by the choice's UTF-8 bytes (a fair
comparison of long with short choices, independent of the tokenizer). Prompt and choice are tokenised together and the
boundary is the longest common prefix with the prompt alone, as in training. All choices of all questions are scored
in one call, batched by tokens. Cost: one reading of prompt + choice for each choice.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from seatools.eval.item import Item
from seatools.eval.row_formats import FORMATS, RowFormat, recognise
from seatools.eval.setup import Advance, Score, Setup
from seatools.eval.sources import Source
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.records import BadRecord, Record
from seatools.text.documents import TokenizedDoc

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Group = tuple[str, str]  # (lang, name of the row format)


@dataclass(frozen=True)
class Question:
    """An item with its tokenised choices."""

    where: str
    item: Item
    docs: list[TokenizedDoc]


def accuracy(scores: Sequence[np.ndarray], items: Sequence[Item]) -> tuple[float, float]:
    """(acc, acc_norm): `scores[i]` [choices] are the summed log-probabilities of item i; of equal ones the first."""
    plain = normed = 0
    for values, item in zip(scores, items, strict=True):
        num_bytes = np.array([len(choice.encode("utf-8")) for choice in item.choices])
        plain += int(values.argmax()) == item.answer
        normed += int((values / num_bytes).argmax()) == item.answer
    return plain / len(items), normed / len(items)


def proportion_stderr(p: float, n: int) -> float | None:
    """Standard error of a share `p` of `n` items; None for one item."""
    return math.sqrt(p * (1 - p) / (n - 1)) if n > 1 else None


class Choice:
    """The tasks `choice` (any format) and those named after one format."""

    takes_shots = True

    def __init__(self, name: str) -> None:
        self.name = name
        form = FORMATS[name]
        self.needs = "rows of a multiple-choice format" if name == "choice" else form.needs

    def accepts(self, value: dict[str, Any]) -> bool:
        form = recognise(value)
        return form is not None and (self.name == "choice" or form.name == self.name)

    def prepare(self, sources: Sequence[Source], shots: Sequence[Source], setup: Setup) -> PreparedChoice:
        questions: dict[Group, list[Question]] = {}
        for source in sources:
            form = self._format(source, setup)
            good = _items(source.records, source.lang, form, setup)
            prefix, solved = _shots(shots, source.lang, form, setup)
            for record, item in good:
                if item in solved:
                    raise UsageError(
                        f"{record.where}: this question is one of the shots", fix="give --shots-data other records"
                    )
            questions.setdefault((source.lang, form.name), []).extend(_encode(good, prefix, setup))
        for (lang, _), own in questions.items():
            if not own:
                raise SeaError(f"no question left to score for {self.name}, {lang}")
            first = own[0].docs[0]
            setup.messages.debug(f"{self.name}, {lang}, first prompt as {len(first.ids)} tokens {first.ids.tolist()}:")
            setup.messages.debug(setup.tokenizer.decode(first.ids.tolist(), skip_special=False))
        return PreparedChoice(questions, setup)

    def _format(self, source: Source, setup: Setup) -> RowFormat:
        if self.name != "choice":
            return FORMATS[self.name]
        if setup.options.format != "auto":
            return FORMATS[setup.options.format]
        form = next((form for record in source.records if (form := recognise(record.value))), None)
        if form is None:
            raise SeaError(
                f"no multiple-choice format has these keys: {', '.join(source.first)}",
                where=source.shown,
                fix=f"make records with {FORMATS['choice'].needs}",
            )
        return form


def _items(records: Sequence[Record], lang: str, form: RowFormat, setup: Setup) -> list[tuple[Record, Item]]:
    found = []
    for record in records:
        try:
            found.append((record, form.item(record.value, lang)))
        except BadRecord as error:
            if error.reason == "missing column":
                error.fix = f"{form.name} needs {form.needs}"
            setup.rejects.refuse(record, error)
    return found


def _shots(shots: Sequence[Source], lang: str, form: RowFormat, setup: Setup) -> tuple[str, list[Item]]:
    """The first K questions of the language's shots with their answers, and the same as items."""
    wanted = setup.options.shots
    if wanted == 0:
        return "", []
    records = [record for source in shots if source.lang == lang for record in source.records]
    records = [record for record in records if form.recognises(record.value)] or records
    if len(records) < wanted:
        raise UsageError(f"{len(records)} shots for {lang}, --shots asks for {wanted}", fix=f"--shots-data {lang}=FILE")
    solved = []
    for record in records[:wanted]:
        try:
            solved.append(form.item(record.value, lang))
        except BadRecord as error:
            error.where = record.where
            raise
    return "".join(f"{item.prompt} {item.choices[item.answer]}\n\n" for item in solved), solved


def _encode(items: Sequence[tuple[Record, Item]], prefix: str, setup: Setup) -> list[Question]:
    asked = [
        {"prompt": prefix + item.prompt, "completion": f" {choice}"} for _, item in items for choice in item.choices
    ]
    encoded = iter(setup.documents.encode(asked, workers=setup.workers))
    questions = []
    for record, item in items:
        docs = [next(encoded) for _ in item.choices]
        try:
            questions.append(Question(record.where, item, [_checked(doc, setup.positions) for doc in docs]))
        except BadRecord as error:
            setup.rejects.refuse(record, error)
    return questions


def _checked(doc: TokenizedDoc | SeaError, positions: int | None) -> TokenizedDoc:
    if isinstance(doc, SeaError):
        raise BadRecord("bad text", doc.what, fix=doc.fix)
    if positions is not None and len(doc.ids) > positions:
        raise BadRecord(
            "too long",
            f"the question has {len(doc.ids):,} tokens, the model takes {positions:,}",
            fix="fewer --shots, or --on-error skip",
        )
    return doc


@dataclass(frozen=True)
class PreparedChoice:
    """Tokenised questions by language and format."""

    questions: dict[Group, list[Question]]
    setup: Setup

    @property
    def size(self) -> int:
        return sum(len(question.docs) for own in self.questions.values() for question in own)

    def score(self, model: PreTrainedModel, advance: Advance) -> Iterator[Score]:
        from seatools.engine.sequences import score_documents

        asked = [question for own in self.questions.values() for question in own]
        docs = [doc.document for question in asked for doc in question.docs]
        values = score_documents(
            model, docs, self.setup.pad_id, batch_tokens=self.setup.options.batch_tokens, advance=advance
        )
        scores = np.split(values, np.cumsum([len(question.docs) for question in asked])[:-1])
        for question, own_scores in zip(asked, scores, strict=True):
            if not np.isfinite(own_scores).all():
                raise SeaError(
                    "the model gives log-probabilities that are not finite",
                    where=question.where,
                    fix="try --dtype bf16 or fp32",
                )
        first = 0
        for (lang, form), own in self.questions.items():
            part = scores[first : first + len(own)]
            first += len(own)
            config = {"format": form, "shots": self.setup.options.shots}
            shares = accuracy(part, [question.item for question in own])
            for metric, share in zip(("acc", "acc_norm"), shares, strict=True):
                yield Score(lang, metric, share, proportion_stderr(share, len(own)), len(own), config)
