"""What computes a unit: log-likelihoods by the model on this machine, answers by whichever engine was asked for.

Both are opened when the first unit needs them, so a run whose answers come from a server, or are all there already,
loads no model. Passes with neurons switched off or a patch are answered by sea's own loop, which runs the very model
that is changed.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from seatools.eval.answer_requests import prompt_tokens, room_for
from seatools.eval.items import JudgeItem, TranslationItem
from seatools.eval.requests import AnswerRequest, CountRequest, ScoreRequest, Setup
from seatools.eval.units import Unit, answer_weight
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.records import BadRecord

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from seatools.engine.generator import Generator

Advance = Callable[[float], None]
Prompt = str | Sequence[Mapping[str, Any]]


def is_remote(engine: str) -> bool:
    """Whether an engine is a server's address."""
    return engine.startswith(("http://", "https://"))


def check_engine(engine: str, num_passes: int) -> None:
    """Raises UsageError for an engine that is none, or one that cannot run a changed model."""
    if not is_remote(engine) and engine not in ("auto", "own", "transformers", "vllm"):
        raise UsageError(f'no engine "{engine}"', fix="auto, own, transformers, vllm, or the URL of a server")
    if num_passes > 1 and (is_remote(engine) or engine == "vllm"):
        raise UsageError(
            f"--engine {engine} runs a model of its own, in which no neuron can be switched off", fix="--engine own"
        )


def off_target(text: str, target_lang: str) -> dict[str, Any]:
    """Whether a translation is in another language than asked for (None: CLD2 is not sure), where it is installed."""
    from seatools.text.identify import identify, same_language

    if importlib.util.find_spec("pycld2") is None:
        return {}
    found = identify(text)
    return {"off_target": None if found is None else found != same_language(target_lang)}


class Engines:
    """The loaded model, if a unit needed it, and the generation engine."""

    def __init__(self, setup: Setup, *, engine: str, device: str, dtype: str, name: str) -> None:
        self.setup, self.engine, self.device, self.dtype, self.name = setup, engine, device, dtype, name
        self._model: PreTrainedModel | None = None
        self._generators: dict[str, Generator] = {}

    @property
    def model(self) -> PreTrainedModel:
        """The model of the setup, loaded once."""
        if self._model is None:
            from seatools.engine.load import open_model

            self._model = open_model(
                self.setup.model_path, device=self.device, dtype=self.dtype,
                vocab_size=self.setup.tokenizer.vocab_size, packing=False,
            )  # fmt: skip
        return self._model

    def results(self, unit: Unit, advance: Advance, *, own_loop: bool = False) -> list[dict[str, Any]]:
        """The result of each request's sample; `advance` is told of the weight done, in all `unit.weight`.

        Raises SeaError, naming the item, for log-probabilities that are not finite or a prompt without an answer.
        """
        if unit.is_counted:
            advance(unit.weight)
            return [dict(request.counts) for request in unit.requests if isinstance(request, CountRequest)]
        if unit.is_scored:
            return self._scored([r for r in unit.requests if isinstance(r, ScoreRequest)], unit.weight, advance)
        asked = [request for request in unit.requests if isinstance(request, AnswerRequest)]
        return self._answered(asked, advance, "own" if own_loop else self.engine)

    def _scored(self, requests: Sequence[ScoreRequest], weight: int, advance: Advance) -> list[dict[str, Any]]:
        from seatools.engine.prefix_scores import prefix_scores

        docs = [doc for request in requests for doc in request.docs]
        share = weight / len(docs)
        values = prefix_scores(
            self.model, docs, batch_tokens=self.setup.options.batch_tokens,
            advance=lambda count: advance(count * share), debug=self.setup.messages.debug,
        )  # fmt: skip
        cuts = np.cumsum([len(request.docs) for request in requests])[:-1]
        found = []
        for request, own in zip(requests, np.split(values, cuts), strict=True):
            if not np.isfinite(own).all():
                raise SeaError(
                    "the model gives log-probabilities that are not finite",
                    where=request.item.where,
                    fix="try --dtype bf16 or fp32",
                )
            found.append(request.result(own))
        return found

    def _answered(self, requests: Sequence[AnswerRequest], advance: Advance, engine: str) -> list[dict[str, Any]]:
        texts: list[list[str]] = [[] for _ in requests]
        finishes = [""] * len(requests)
        prompts: list[tuple[tuple[int, ...], Prompt]] = [(request.ids, request.messages) for request in requests]
        turns = requests[0].num_turns
        share = sum(map(answer_weight, requests)) / len(requests) / turns
        for turn in range(turns):
            if turn:
                prompts = [self._next_turn(request, own) for request, own in zip(requests, texts, strict=True)]
            made = self._answers(requests, prompts, engine, lambda count: advance(count * share))
            for row, (text, finish) in enumerate(made):
                texts[row].append(text)
                finishes[row] = finish
        found = []
        for request, own, finish in zip(requests, texts, finishes, strict=True):
            result = {"text": own[-1], "finish": finish, **request.expected}
            if isinstance(request.item, TranslationItem):
                result |= off_target(own[-1], request.item.target_lang)
            found.append(result | {"answers": own} if isinstance(request.item, JudgeItem) else result)
        return found

    def _next_turn(self, request: AnswerRequest, answers: Sequence[str]) -> tuple[tuple[int, ...], Prompt]:
        assert isinstance(request.item, JudgeItem)
        messages = request.item.messages(tuple(answers))
        try:
            return prompt_tokens(messages, self.setup, room_for(request.max_new_tokens, self.setup)), messages
        except BadRecord as error:
            raise SeaError(error.what, where=request.item.where, fix=error.fix) from error

    def _answers(
        self, requests: Sequence[AnswerRequest], prompts: Sequence[tuple[tuple[int, ...], Prompt]], engine: str,
        advance: Callable[[int], None],
    ) -> list[tuple[str, str]]:  # fmt: skip
        from seatools.engine.generator import Request
        from seatools.engine.prompts import PromptError
        from seatools.engine.sampling import SamplingOptions

        options = SamplingOptions(
            max_new_tokens=requests[0].max_new_tokens, temperature=0, stop_ids=self.setup.stop_ids,
            stop_strings=requests[0].stop,
        )  # fmt: skip
        group = [
            Request(ids, options, text=text if isinstance(text, str) else [dict(message) for message in text])
            for ids, text in prompts
        ]
        try:
            made = self._generator(engine).run(group, advance)
        except PromptError as error:
            raise SeaError(error.what, where=requests[error.row].item.where, fix=error.fix) from error
        chat = requests[0].is_chat
        return [((one.text or "").strip() if chat else one.text or "", one.finish) for one in made]

    def _generator(self, engine: str) -> Generator:
        if engine not in self._generators and engine == "vllm":
            from seatools.engine.device import pick_device, pick_dtype
            from seatools.engine.generator import VLLM
            from seatools.engine.vllm_engine import open_vllm

            # Left to itself vLLM takes the format of the files, and fp16 for fp32, which no sample would say.
            dtype = str(pick_dtype(self.dtype, pick_device(self.device))).removeprefix("torch.")
            self._generators[engine] = VLLM(open_vllm(self.setup.model_path, dtype=dtype), self.setup.tokenizer.decode)
        elif engine not in self._generators:
            from seatools.engine.generator import open_generator

            self._generators[engine] = open_generator(
                engine, model=None if is_remote(engine) else self.model, folder=self.setup.model_path, name=self.name,
                decode=self.setup.tokenizer.decode, note=self.setup.messages.debug,
                **({"batch_tokens": self.setup.options.batch_tokens} if self.setup.options.batch_tokens else {}),
            )  # fmt: skip
        return self._generators[engine]
