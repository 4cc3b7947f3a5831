"""`generate`: one answer per prompt, by this project's own loop, with the same answer for a prompt in any batch.

Groups of prompts (prompts.py) are answered one after the other by packed_generation.py; models that it cannot run by
padded_generation.py. Each row draws its uniforms from its own seed, one a token, so that its answer does not depend on
what stands beside it (up to rounding; sampling.py says how that is kept harmless).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from seatools.engine.packed_generation import packed_answers, unpackable
from seatools.engine.padded_generation import padded_answers
from seatools.engine.prompts import PromptError, check_prompts, kept_room, prompt_groups
from seatools.engine.sampling import SamplingOptions, kept_probabilities, next_tokens
from seatools.engine.stop_strings import Decode, Generated
from seatools.streams.errors import UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = [
    "Decode", "Generated", "PromptError", "SamplingOptions", "answer_group", "generate", "kept_probabilities",
    "next_tokens",
]  # fmt: skip


def generate(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    options: SamplingOptions,
    *,
    seeds: Sequence[int],
    batch_tokens: int | None = None,
    decode: Decode | None = None,
    progress: Callable[[int], Any] | None = None,
) -> list[Generated]:
    """One answer per prompt, in the order of the prompts; `seeds[i]` alone decides the chance of row i.

    `batch_tokens` bounds the tokens that running answers hold, each counted with all that it may grow to, beginnings
    that several share not counted (None: `kept_room`, which on a GPU is not the same from run to run); a longer single
    row runs alone. `decode` is needed for stop strings. `progress` is
    called with the number of rows that have just finished. Raises PromptError for an empty prompt, one too long for
    the model, or one with an id outside its vocabulary.
    """
    check_request(model, prompts, options, seeds, batch_tokens, decode)
    answers: list[Generated | None] = [None] * len(prompts)
    for rows in prompt_groups(prompts):
        asked, own_seeds = [prompts[row] for row in rows], [seeds[row] for row in rows]
        try:
            found = answer_group(
                model, asked, options, seeds=own_seeds, batch_tokens=batch_tokens, decode=decode, progress=progress
            )
        except PromptError as error:
            raise error.of_row(rows[error.row]) from None
        for row, answer in zip(rows, found, strict=True):
            answers[row] = answer
    return [answer for answer in answers if answer is not None]


def check_request(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    options: SamplingOptions,
    seeds: Sequence[int],
    batch_tokens: int | None,
    decode: Decode | None,
) -> None:
    """The errors that `generate` raises before it begins."""
    if len(seeds) != len(prompts):
        raise ValueError(f"{len(prompts)} prompts but {len(seeds)} seeds")
    if model.training:
        raise ValueError("the model is in training mode; call model.eval() first")
    if options.stop_strings and decode is None:
        raise UsageError("stop strings need a tokenizer to decode with")
    if batch_tokens is not None and batch_tokens < 1:
        raise UsageError(f"batch_tokens is {batch_tokens}; it must be at least 1")
    if any(seed < 0 for seed in seeds):
        raise UsageError(f"seed {min(seeds)} is negative")
    check_prompts(model, prompts, options)


def answer_group(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    options: SamplingOptions,
    *,
    seeds: Sequence[int],
    batch_tokens: int | None,
    decode: Decode | None,
    progress: Callable[[int], Any] | None = None,
) -> list[Generated]:
    """The answers to one group. Its requests are not checked."""
    by = padded_answers if unpackable(model) is not None else packed_answers
    answers: dict[int, Generated] = {}
    if batch_tokens is None:
        batch_tokens = kept_room(model)
    with torch.no_grad():  # not inference_mode: what the model caches meanwhile may be trained through later
        for row, answer in by(model, prompts, options, seeds=seeds, batch_tokens=batch_tokens, decode=decode):
            answers[row] = answer
            if progress is not None:
                progress(1)
    return [answers[row] for row in range(len(prompts))]
