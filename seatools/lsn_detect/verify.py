"""Do a language's neurons serve that language? All texts, and the starts of some, read with each set switched off.

Texts are tokenised and laid into windows once, with the rules of `sea eval perplexity`: the plain figures are its own
to rounding. Then each run reads all languages: 1 + languages * (1 + draws of the control) passes over the texts in all,
none for a language without neurons. What is kept is one number a text and run, from which the bootstrap makes
everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from seatools.engine.world import SINGLE, World
from seatools.lsn_detect.output_language import OutputJudge, greedy_outputs
from seatools.lsn_detect.switched_off import Run
from seatools.streams.errors import SeaError, UsageError
from seatools.text.cleaning.language_tiers import Identified
from seatools.text.scored_text import ScoredText

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from seatools.engine.generate import SamplingOptions
    from seatools.engine.text_nats import Readings
    from seatools.text.tokenizer import Tokenizer

LEAST_RESAMPLES = 100  # of fewer, the 2.5th percentile is a guess


@dataclass(frozen=True, kw_only=True)
class VerifyOptions:
    """Options of `sea lsn-detect verify`."""

    langs: tuple[str, ...] | None = None
    """Languages to switch off; None: all that the file has."""
    random: int = 3
    """Draws of the control for each language; what others would have done is said from two on."""
    bootstrap: int = 1000
    """Resamples."""
    outputs: int = 16
    """Prompts a language for the share of outputs that change language; 0: none."""
    max_new_tokens: int = 32
    """Longest output."""
    lang_id: str = "script"
    """What identifies the language of an output: script, cld2 or fasttext:FILE."""
    seq_len: int | None = None
    """Tokens of a window, its context token included; None: what the model takes, at most 2,048."""
    stride: int | None = None
    """New tokens that each further window scores; None: half a window."""
    batch_tokens: int = 8192
    """Tokens in a batch; changes a score by rounding only."""
    min_selectivity: float | None = None
    """A selectivity below this fails the check."""
    better_than_random: bool = False
    """A set that does no better than its control fails the check."""
    limit: int | None = None
    seed: int = 0
    device: str = "auto"
    dtype: str = "auto"

    def __post_init__(self) -> None:
        counts = (
            ("--random", self.random, 0), ("--bootstrap", self.bootstrap, LEAST_RESAMPLES),
            ("--outputs", self.outputs, 0), ("--max-new-tokens", self.max_new_tokens, 1),
            ("--batch-tokens", self.batch_tokens, 1),
        )  # fmt: skip
        for flag, value, least in counts:
            if value < least:
                raise UsageError(f"{flag} is {value}; it must be at least {least}")
        if self.langs is not None and not self.langs:
            raise UsageError("--langs names no language", fix="--langs th,vi")
        if self.min_selectivity is not None and not 0 <= self.min_selectivity < float("inf"):
            raise UsageError(f"--min-selectivity {self.min_selectivity} is not a number of 0 or more")
        if self.better_than_random and self.random < 2:
            raise UsageError("--better-than-random needs two draws of the control", fix="--random 3")


@dataclass(frozen=True)
class Prompts:
    """The starts of texts by language, and how they are continued."""

    by_lang: Mapping[str, Sequence[Sequence[int]]]
    sampling: SamplingOptions
    judge: OutputJudge

    @property
    def size(self) -> int:
        return sum(map(len, self.by_lang.values()))


@dataclass(frozen=True)
class Measured:
    """Per language of text, in the order of the runs: `nats` [runs, texts] float64, `outputs` [runs][prompts]."""

    nats: dict[str, np.ndarray]
    outputs: dict[str, list[list[Identified]]]


def is_parallel(texts: Mapping[str, Sequence[ScoredText]]) -> bool:
    """Whether text k of every language stands on the same line: as many texts, and none left out on the way."""
    lines = [[text.record.line for text in own] for own in texts.values()]
    return len(lines) > 1 and all(own == lines[0] for own in lines)


def measure(
    model: PreTrainedModel,
    runs: Sequence[Run],
    texts: Mapping[str, Sequence[ScoredText]],
    readings: Readings,
    tokenizer: Tokenizer,
    *,
    batch_tokens: int,
    prompts: Prompts | None,
    advance: Callable[[int], None],
    world: World = SINGLE,
) -> Measured:
    """Read everything under each run. `readings`: of all texts, in their order; `advance` is told of what was read.

    The runs are dealt to the ranks in turn; all of them get everything. Raises SeaError where the model gives
    log-probabilities that are not finite.
    """
    import torch

    from seatools.engine.text_nats import text_nats

    all_texts = [text for own in texts.values() for text in own]
    found = np.zeros((len(runs), len(all_texts)))
    made: dict[int, dict[str, list[Identified]]] = {}
    different = [number for number, run in enumerate(runs) if not (number and run.is_plain)]
    for number in different[world.rank :: world.size]:
        run = runs[number]
        with run.applied(model):
            found[number] = text_nats(
                model, readings, tokenizer.pad_id or 0, batch_tokens=batch_tokens, advance=advance
            )
            made[number] = _identified(model, prompts, tokenizer, batch_tokens, advance) if prompts else {}
        if not np.isfinite(found[number]).all():
            wrong = all_texts[int(np.flatnonzero(~np.isfinite(found[number]))[0])]
            off = "" if run.is_plain else f" without neurons of {run.lang}"
            raise SeaError(
                f"the model{off} gives log-probabilities that are not finite", where=wrong.where,
                fix="try --dtype bf16 or fp32",
            )  # fmt: skip
    found = world.sum(torch.from_numpy(found)).numpy()
    outputs = {number: world.first(made.get(number)) or {} for number in different}
    for number in range(len(runs)):
        if number not in outputs:  # nothing is switched off: as the whole model
            found[number], outputs[number] = found[0], outputs[0]
    ends = np.cumsum([len(own) for own in texts.values()])[:-1]
    nats = dict(zip(texts, np.split(found, ends, axis=1), strict=True))
    langs = prompts.by_lang if prompts else {}
    return Measured(nats, {lang: [outputs[number][lang] for number in range(len(runs))] for lang in langs})


def _identified(
    model: PreTrainedModel, prompts: Prompts, tokenizer: Tokenizer, batch_tokens: int, advance: Callable[[int], None]
) -> dict[str, list[Identified]]:
    """The language of the output to each prompt."""
    flat = [prompt for own in prompts.by_lang.values() for prompt in own]
    made = iter(greedy_outputs(model, flat, prompts.sampling, batch_tokens=batch_tokens, advance=advance))
    return {
        lang: [prompts.judge.identify(tokenizer.decode(next(made))) for _ in own]
        for lang, own in prompts.by_lang.items()
    }
