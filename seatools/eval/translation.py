"""Translation, or any text generation with one reference: greedy answers scored by chrF and chrF++.

A string prompt is continued as it stands up to the end of the line (so base models, which go on with the next
example, are scored on the first); messages go through the chat template and are answered to the end of the turn.
With shots, the first K records of the shots with their references stand before each string prompt.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from seatools.eval.chrf import WORD_ORDERS, corpus_chrf
from seatools.eval.item import text_of
from seatools.eval.setup import Advance, Options, Score, Setup
from seatools.eval.sources import Source
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.records import BadRecord, Record, check_prompt
from seatools.text.stop_tokens import stop_ids

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from seatools.engine.generate import Generated


@dataclass(frozen=True)
class Prompt:
    """A tokenised prompt; `by_line` where the answer ends with its line."""

    where: str
    ids: list[int]
    reference: str
    by_line: bool


class Translation:
    """The task `translation`, also called `chrf`."""

    takes_shots = True
    needs = "`prompt` (a string or messages), `reference`"

    def __init__(self, name: str) -> None:
        self.name = name

    def accepts(self, value: dict[str, Any]) -> bool:
        return "prompt" in value and "reference" in value

    def prepare(self, sources: Sequence[Source], shots: Sequence[Source], setup: Setup) -> PreparedTranslation:
        room = None if setup.positions is None else setup.positions - setup.options.max_new_tokens
        if room is not None and room < 1:
            raise UsageError(
                f"--max-new-tokens {setup.options.max_new_tokens} leaves no room in the model's "
                f"{setup.positions} positions"
            )
        prompts: dict[str, list[Prompt]] = {}
        for source in sources:
            prefix = _shots(shots, source.lang, setup.options)
            own = prompts.setdefault(source.lang, [])
            for record in source.records:
                try:
                    own.append(_prompt(record, prefix, room, setup))
                except BadRecord as error:
                    setup.rejects.refuse(record, error)
        for lang, own in prompts.items():
            if not own:
                raise SeaError(f"no prompt left to answer for {self.name}, {lang}")
            setup.messages.debug(f"{self.name}, {lang}, first prompt as {len(own[0].ids)} tokens {own[0].ids}:")
            setup.messages.debug(setup.tokenizer.decode(own[0].ids, skip_special=False))
        return PreparedTranslation(prompts, stop_ids(setup.tokenizer, setup.model_path), setup)


def _shots(shots: Sequence[Source], lang: str, options: Options) -> str:
    if options.shots == 0:
        return ""
    records = [record for source in shots if source.lang == lang for record in source.records]
    if len(records) < options.shots:
        raise UsageError(
            f"{len(records)} shots for {lang}, --shots asks for {options.shots}", fix=f"--shots-data {lang}=FILE"
        )
    solved = []
    for record in records[: options.shots]:
        try:
            prompt, reference = text_of(record.value, "prompt"), text_of(record.value, "reference")
        except BadRecord as error:
            error.where = record.where
            raise
        solved.append(f"{prompt} {reference}\n\n")
    return "".join(solved)


def _prompt(record: Record, prefix: str, room: int | None, setup: Setup) -> Prompt:
    reference = text_of(record.value, "reference")
    check_prompt(record.value)
    prompt = record.value["prompt"]
    by_line = isinstance(prompt, str)
    if prefix and not by_line:
        raise BadRecord(
            "shots before messages", "--shots go before string prompts only", fix="put them into the messages"
        )
    try:
        ids = [int(id) for id in setup.documents.prompt_ids({"prompt": prefix + prompt if by_line else prompt})]
    except SeaError as error:
        raise BadRecord("bad prompt", error.what, fix=error.fix) from error
    if room is not None and len(ids) > room:
        raise BadRecord(
            "too long",
            f"the prompt has {len(ids):,} tokens, the model has room for {room:,}",
            fix="fewer --shots or --max-new-tokens, or --on-error skip",
        )
    return Prompt(record.where, ids, reference, by_line)


@dataclass(frozen=True)
class PreparedTranslation:
    """Tokenised prompts by language."""

    prompts: dict[str, list[Prompt]]
    stop_ids: frozenset[int]
    setup: Setup

    @property
    def size(self) -> int:
        return sum(len(own) for own in self.prompts.values())

    def score(self, model: PreTrainedModel, advance: Advance) -> Iterator[Score]:
        asked = [prompt for own in self.prompts.values() for prompt in own]
        answers: list[Generated | None] = [None] * len(asked)
        for by_line in (True, False):
            rows = [row for row, prompt in enumerate(asked) if prompt.by_line is by_line]
            for row, made in zip(
                rows, self._answers(model, [asked[row] for row in rows], by_line, advance), strict=True
            ):
                answers[row] = made
        first = 0
        for lang, own in self.prompts.items():
            part = [made for made in answers[first : first + len(own)] if made is not None]
            first += len(own)
            yield from self._scores(lang, own, part)

    def _answers(
        self, model: PreTrainedModel, prompts: list[Prompt], by_line: bool, advance: Advance
    ) -> list[Generated]:
        from seatools.engine.generate import PromptError, SamplingOptions, generate

        if not prompts:
            return []
        options = SamplingOptions(
            max_new_tokens=self.setup.options.max_new_tokens, temperature=0, stop_ids=self.stop_ids,
            stop_strings=("\n",) if by_line else (),
        )  # fmt: skip
        try:
            return generate(
                model, [prompt.ids for prompt in prompts], options, seeds=[0] * len(prompts),
                batch_tokens=self.setup.options.batch_tokens, decode=self.setup.tokenizer.decode, progress=advance,
            )  # fmt: skip
        except PromptError as error:
            raise SeaError(error.what, where=prompts[error.row].where, fix=error.fix) from error

    def _scores(self, lang: str, prompts: Sequence[Prompt], answers: Sequence[Generated]) -> Iterator[Score]:
        # What the length cut inside a character decodes to U+FFFD, which no reference holds.
        texts = [(made.text or "").rstrip("\ufffd") if made.finish == "length" else made.text or "" for made in answers]
        options = self.setup.options
        config = {
            "shots": options.shots,
            "max_new_tokens": options.max_new_tokens,
            "empty": sum(not text.strip() for text in texts),
            "cut_off": sum(made.finish == "length" for made in answers),
        }
        for metric, word_order in WORD_ORDERS.items():
            found = corpus_chrf(
                texts, [prompt.reference for prompt in prompts], word_order=word_order, seed=options.seed
            )
            more = {"signature": found.signature, "seed": options.seed}
            yield Score(lang, metric, found.value, found.stderr, len(prompts), config | more)
