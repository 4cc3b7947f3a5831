"""What a unit of questions comes to: translations, answers, scores; a function of the unit and the settings alone.

The seed of answer k to a prompt is a hash of (seed, prompt tokens, k): the same record gets the same answer whatever
stands beside it in the input or the batch. For a string prompt the answer is the text that follows it exactly (its
leading space included), found by decoding it after another text, because decoders treat the first piece of a text
differently. A question that the model cannot answer is an outcome of its own, so that a resumed run does not ask again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seatools.engine.stop_strings import Decode, Generated
from seatools.sample.best_of import best_answers, mean_log_probs
from seatools.sample.options import SampleOptions, is_remote
from seatools.sample.prompts import Prompt, texts_of, with_texts
from seatools.sample.questions import Asker, Question, answer_seed
from seatools.sample.translation import check_translation
from seatools.streams.errors import SeaError
from seatools.streams.messages import Messages
from seatools.streams.records import BadRecord
from seatools.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from seatools.engine.generator import Generator, Request
    from seatools.engine.sampling import SamplingOptions

Advance = Callable[[int], Any]


@dataclass(frozen=True)
class Outcome:
    """What became of a question: its answers, or why there are none."""

    key: str
    responses: tuple[str, ...] = ()
    finish: tuple[str, ...] = ()
    scores: tuple[float | None, ...] | None = None
    """Of best-of: the mean log-probability of a token, nats."""
    prompt: Prompt | None = None
    """The translated prompt, as it was asked."""
    engine: str = ""
    reject: tuple[str, str] | None = None
    """(reason, what)."""


@dataclass
class Answerer:
    """Answers units with an engine, and with a model where it needs one; both are opened for the first unit."""

    asker: Asker
    stop_ids: frozenset[int]
    model_path: Path
    model_name: str
    device: str
    dtype: str
    messages: Messages
    skips: bool = False
    """Whether a prompt for which the model gives no probabilities is a reject, not an error."""
    _model: PreTrainedModel | None = None
    _generator: Generator | None = None

    @property
    def options(self) -> SampleOptions:
        return self.asker.options

    @property
    def model(self) -> PreTrainedModel:
        """The model on this machine, loaded once."""
        if self._model is None:
            from seatools.engine.load import open_model

            assert self.asker.documents is not None
            self._model = open_model(
                self.model_path, device=self.device, dtype=self.dtype,
                vocab_size=self.asker.documents.tokenizer.vocab_size, packing=False,
            )  # fmt: skip
        return self._model

    @property
    def generator(self) -> Generator:
        """The engine."""
        if self._generator is None:
            from seatools.engine.generator import open_generator

            engine = self.options.chosen_engine
            elsewhere = is_remote(engine) or engine == "vllm"
            self._generator = open_generator(
                engine, model=None if elsewhere else self.model, folder=self.model_path, name=self.model_name,
                decode=self.decode, batch_tokens=self.options.batch_tokens, note=self.messages.debug,
            )  # fmt: skip
        return self._generator

    @property
    def engine_name(self) -> str:
        """The engine that was opened, as `--engine` names it."""
        if is_remote(self.options.engine):
            return self.options.engine
        names = {"OwnLoop": "own", "ContinuousBatching": "transformers", "VLLM": "vllm"}
        return names[type(self.generator).__name__]

    @cached_property
    def decode(self) -> Decode | None:
        if self.asker.documents is None:
            return None
        return continuation_decoder(self.asker.documents.tokenizer)

    def answer(self, unit: Sequence[Question], advance: Advance | None = None) -> list[Outcome]:
        """An outcome for each question, in order. `advance` is told how many answers have been made."""
        outcomes: dict[str, Outcome] = {}
        if self.asker.translation is not None:
            unit_left, translated = self._translated(unit, outcomes)
        else:
            unit_left, translated = list(unit), {}
        num, options = self.options.num_made, self.options.sampling(self.stop_ids)
        made = self._made([(one, self._requests(one, options, num)) for one in unit_left], outcomes, advance)
        asked = [one for one in unit_left if one.key in made]
        scores = self._scores([(one.ids, answer.ids) for one in asked for answer in made[one.key]])
        for place, one in enumerate(asked):
            texts = [self._text(one, answer) for answer in made[one.key]]
            own = None if scores is None else scores[place * num : (place + 1) * num]
            kept = range(num) if own is None else best_answers(texts, own, self.options.num)
            outcomes[one.key] = Outcome(
                key=one.key, responses=tuple(texts[k] for k in kept),
                finish=tuple(made[one.key][k].finish for k in kept),
                scores=None if own is None else tuple(own[k] for k in kept), prompt=translated.get(one.key),
                engine=self.engine_name,
            )  # fmt: skip
        return [outcomes[one.key] for one in unit]

    def _requests(self, question: Question, options: SamplingOptions, num: int) -> list[Request]:
        from seatools.engine.generator import Request

        of = question.ids or question.prompt
        text = question.prompt if isinstance(question.prompt, str) else [dict(turn) for turn in question.prompt]
        return [
            Request(question.ids, options, answer_seed(self.options.seed, of, number), text) for number in range(num)
        ]

    def _made(
        self, asked: Sequence[tuple[Question, Sequence[Request]]], outcomes: dict[str, Outcome],
        advance: Advance | None = None,
    ) -> dict[str, list[Generated]]:  # fmt: skip
        """The answers to each question's requests, by key; a question that has none gets its outcome."""
        from seatools.engine.prompts import PromptError

        while True:
            left = [(one, request) for one, requests in asked for request in requests if one.key not in outcomes]
            try:
                made = self.generator.run([request for _, request in left], advance)
            except PromptError as error:
                one, what = left[error.row][0], error.bare
                if not self.skips:
                    raise SeaError(what, where=one.where, fix=error.fix) from error
                outcomes[one.key] = Outcome(one.key, reject=("no answer", what))
                continue
            found: dict[str, list[Generated]] = {}
            for (one, _), answer in zip(left, made, strict=True):
                found.setdefault(one.key, []).append(answer)
            return found

    def _translated(
        self, unit: Sequence[Question], outcomes: dict[str, Outcome]
    ) -> tuple[list[Question], dict[str, Prompt]]:
        """The questions whose prompts could be translated, and what is asked then; the others get their outcomes."""
        from seatools.engine.generator import Request

        translation = self.asker.translation
        assert translation is not None
        stops = () if self.asker.chats else translation.plain_stops
        options = dataclasses.replace(
            self.options.sampling(self.stop_ids), temperature=0.0, repetition_penalty=1.0, stop_strings=stops,
            max_new_tokens=self.options.translation_tokens or 1,
        )  # fmt: skip
        asked = []
        for one in unit:
            asks = [self.asker.translation_prompt(text, str(one.lang)) for text in texts_of(one.prompt)]
            requests = [Request(ids, options, 0, ask) for ids, ask in zip(one.to_translate, asks, strict=True)]
            asked.append((one, requests))
        made = self._made(asked, outcomes)
        left, prompts = [], {}
        for one in unit:
            if one.key in outcomes:
                continue
            try:
                texts = []
                for source, answer in zip(texts_of(one.prompt), made[one.key], strict=True):
                    text = text_of(self.decode, answer).strip()
                    check_translation(text, source, answer.finish, source=translation.source, target=str(one.lang))
                    texts.append(text)
                prompt = self.asker.asked(with_texts(one.prompt, texts))
                ids = self.asker.tokens(prompt, self.options.max_new_tokens)
            except BadRecord as error:
                outcomes[one.key] = Outcome(one.key, reject=(error.reason, error.what))
                continue
            prompts[one.key] = prompt
            left.append(dataclasses.replace(one, prompt=prompt, ids=ids))
        return left, prompts

    def _scores(self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[float | None] | None:
        return mean_log_probs(self.model, pairs, self.options.batch_tokens) if self.options.best_of else None

    def _text(self, question: Question, answer: Generated) -> str:
        text = text_of(self.decode, answer)
        return text if isinstance(question.prompt, str) else text.strip()


def continuation_decoder(tokenizer: Tokenizer) -> Decode:
    """Decodes what follows another text: SentencePiece takes one space off the beginning of a text of its own."""
    anchor = tokenizer.encode("a")
    before = tokenizer.decode(anchor)

    def decode(ids: list[int]) -> str:
        whole = tokenizer.decode(anchor + ids)
        return whole[len(before) :] if whole.startswith(before) else tokenizer.decode(ids)

    return decode


def text_of(decode: Decode | None, made: Generated) -> str:
    """The answer's text, without the character that its length may have cut it in.

    Byte fallback of a tokenizer.json decodes a run of bytes whole or not at all, each byte as U+FFFD; without the
    torn character's bytes (three at most) the others are read again.
    """
    text = made.text if made.text is not None or decode is None else decode(made.ids)
    text = text or ""
    if decode is None or made.finish != "length" or not text.endswith("\ufffd"):
        return text
    shorter = (decode(made.ids[: len(made.ids) - cut]).rstrip("\ufffd") for cut in range(min(4, len(made.ids))))
    return max(shorter, key=len)
