"""Who judges: a model on this machine, or a server that speaks OpenAI's protocol.

Both give numbers for items: of a comparison the log-odds of either order, of a rating the points. A server says a
label, which is worth 1 or -1; what it says is read strictly, and anything but a label is no verdict (NaN).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from seatools.judge.instructions import InstructionBook, Instructions
from seatools.judge.judging_text import comparison_text, rating_text
from seatools.judge.labels import PAIRS as LABELS
from seatools.judge.pairs import Comparison, Item, Rating, lang_of
from seatools.streams.errors import SeaError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from seatools.engine.openai_engine import Server
    from seatools.text.documents import Documents

_POINTS = re.compile(r"[\s*_`\[(\"']*([0-5])(?:\s*/\s*5)?[\s*_`\])\"'.]*")


class Judge(Protocol):
    """Something that judges."""

    name: str
    """What stands in records as the judge."""
    labels: tuple[str, str]

    def values(self, items: Sequence[Item]) -> np.ndarray:
        """[items, 2] float64 of comparisons (`Verdict`'s two), [items, 1] of ratings; NaN: nothing was said."""

    def text(self, item: Item) -> str:
        """What it reads of an item, in the order given."""


@dataclass
class LocalJudge:
    """A model of ours; it is loaded when it is first asked."""

    name: str
    documents: Documents
    book: InstructionBook
    labels: tuple[str, str]
    calibrate: bool
    open_model: Any  # Callable[[], PreTrainedModel]
    batch_tokens: int | None = None
    _model: PreTrainedModel | None = field(default=None, init=False)

    @property
    def model(self) -> PreTrainedModel:
        if self._model is None:
            self._model = self.open_model()
        assert self._model is not None
        return self._model

    def text(self, item: Item) -> str:
        return _text(item, self.words([item])[0], self.labels, chat=self.documents.template is not None)

    def words(self, items: Sequence[Item]) -> list[Instructions]:
        """The instructions for each item."""
        return [self.book.of(lang_of(item.record)) for item in items]

    def values(self, items: Sequence[Item]) -> np.ndarray:
        from seatools.judge.both_orders import pair_log_odds
        from seatools.judge.pointwise import expected_points

        questions = [item.question for item in items if isinstance(item, Comparison)]
        if questions:
            return pair_log_odds(
                self.model, self.documents, questions, self.words(items), self.labels, calibrate=self.calibrate,
                batch_tokens=self.batch_tokens,
            )  # fmt: skip
        answers = [item.answer for item in items if isinstance(item, Rating)]
        points = expected_points(self.model, self.documents, answers, self.words(items), batch_tokens=self.batch_tokens)
        return points[:, None]

    def longest_reading(self, items: Sequence[Item]) -> list[int]:
        """Of each item the most tokens that the model reads at once."""
        from seatools.judge.both_orders import reading_docs
        from seatools.judge.pointwise import rating_docs

        questions = [item.question for item in items if isinstance(item, Comparison)]
        if questions:
            docs = reading_docs(self.documents, questions, self.words(items), self.labels, calibrate=self.calibrate)
        else:
            answers = [item.answer for item in items if isinstance(item, Rating)]
            docs = rating_docs(self.documents, answers, self.words(items))
        sizes = np.array([len(doc.ids) for doc in docs]).reshape(len(items), -1)
        return [int(size) for size in sizes.max(axis=1)]


@dataclass
class ServerJudge:
    """A model behind a URL, asked in words; both orders of a comparison are two requests."""

    name: str
    server: Server
    book: InstructionBook
    max_new_tokens: int
    skips: bool = False
    """Whether what the server refuses (too long for it, its filter) is no verdict, and not an error."""
    labels: tuple[str, str] = LABELS[0]
    unread: str | None = field(default=None, init=False)
    """The first that it said, or why it said nothing, where there was no verdict in that."""

    def text(self, item: Item) -> str:
        return _text(item, self.book.of(lang_of(item.record)), self.labels, chat=True)

    def values(self, items: Sequence[Item]) -> np.ndarray:
        read = self._label if items and isinstance(items[0], Comparison) else said_points
        numbers = []
        for text, refused in self._said([(item, text) for item in items for text in self._texts(item)]):
            numbers.append(math.nan if refused else read(text))
            if self.unread is None and math.isnan(numbers[-1]):
                self.unread = text
        return np.array(numbers, dtype=np.float64).reshape(len(items), -1)

    def _said(self, asked: Sequence[tuple[Item, str]]) -> list[tuple[str, bool]]:
        """To each text what the server says, and whether that is why it refuses to answer."""
        from seatools.engine.generator import Remote, Request
        from seatools.engine.prompts import PromptError
        from seatools.engine.sampling import SamplingOptions

        options = SamplingOptions(max_new_tokens=self.max_new_tokens, temperature=0)
        remote, refused = Remote(self.server), dict[int, str]()
        while True:
            left = [row for row in range(len(asked)) if row not in refused]
            requests = [Request((), options, text=[{"role": "user", "content": asked[row][1]}]) for row in left]
            try:
                said = dict(zip(left, remote.run(requests), strict=True))
            except PromptError as error:
                row = left[error.row]
                if not self.skips:
                    fix = error.fix or "--on-error skip counts it as no verdict"
                    raise SeaError(error.bare, where=asked[row][0].record.where, fix=fix) from error
                refused[row] = error.bare
                continue
            return [
                (refused[row], True) if row in refused else (said[row].text or "", False) for row in range(len(asked))
            ]

    def _texts(self, item: Item) -> list[str]:
        if isinstance(item, Rating):
            return [self.text(item)]
        words = self.book.of(lang_of(item.record))
        orders = (item.question, item.question.swapped)
        return [comparison_text(words, question, self.labels, chat=True) for question in orders]

    def _label(self, text: str) -> float:
        return said_label(text, self.labels)


def said_label(text: str, labels: tuple[str, str]) -> float:
    """1 for the first label, -1 for the second, NaN for anything that is not just one of them (`[[A]]`, `**B**.`)."""
    either = "|".join(map(re.escape, labels))
    found = re.fullmatch(rf"[\s*_`\[(\"']*({either})[\s*_`\])\"'.。။]*", text)
    return math.nan if found is None else 1.0 if found[1] == labels[0] else -1.0


def said_points(text: str) -> float:
    """The points from 0 to 5 that a text consists of (`4`, `**4**`, `4/5`), else NaN."""
    found = _POINTS.fullmatch(text)
    return math.nan if found is None else float(found[1])


def _text(item: Item, words: Instructions, labels: tuple[str, str], *, chat: bool) -> str:
    if isinstance(item, Rating):
        return rating_text(words, *item.answer, chat=chat)
    return comparison_text(words, item.question, labels, chat=chat)
