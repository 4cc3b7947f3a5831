"""Prompts that a model can answer, and groups of them: the units in which generation is done, kept and resumed.

A group depends on its prompts and settings alone, never on what else has been done. Prompts are put in the order of
their tokens, so that what they begin with in common lies in few groups, and cut into groups of nearly equal size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from seatools.engine.load import max_positions
from seatools.engine.sampling import SamplingOptions
from seatools.streams.errors import SeaError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

GROUP = 128


class PromptError(SeaError):
    """A prompt that cannot be answered; `row` is its index, for a caller that knows the file and line, and `bare` what
    is wrong without that index."""

    def __init__(self, row: int, what: str, *, fix: str | None = None) -> None:
        super().__init__(f"prompt {row}: {what}", fix=fix)
        self.row, self.bare = row, what

    def of_row(self, row: int) -> PromptError:
        """The same of another index, for a caller that asked with a part of its prompts."""
        return PromptError(row, self.bare, fix=self.fix)


def prompt_groups(prompts: Sequence[Sequence[int]], *, size: int = GROUP) -> list[list[int]]:
    """Indices of `prompts` cut into groups of at most `size`; each index once, ascending within a group."""
    number = -(-len(prompts) // size)
    order = sorted(range(len(prompts)), key=lambda row: (tuple(prompts[row]), row))
    ends = [len(order) * place // number for place in range(number + 1)] if number else [0]
    return [sorted(order[first:end]) for first, end in zip(ends, ends[1:], strict=False)]


def kept_room(model: PreTrainedModel, share: float = 0.5) -> int:
    """Tokens whose keys and values fit into `share` of what is free on the model's device; on a CPU into 2 GB."""
    config: Any = model.config.get_text_config(decoder=True)
    heads = config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    kept = 2 * width * (getattr(config, "num_key_value_heads", None) or heads) * config.num_hidden_layers
    if model.device.type != "cuda":
        return (2 << 30) // (kept * model.dtype.itemsize)
    free = torch.cuda.mem_get_info(model.device)[0] + torch.cuda.memory_reserved(model.device)
    free -= torch.cuda.memory_allocated(model.device)
    return int(share * free) // (kept * model.dtype.itemsize)


def check_prompts(model: PreTrainedModel, prompts: Sequence[Sequence[int]], options: SamplingOptions) -> None:
    """PromptError for an empty prompt, one too long for the model, or one with an id outside its vocabulary."""
    longest = max_positions(model.config)
    embeddings: Any = model.get_input_embeddings()
    num_embeddings = len(embeddings.weight)
    for row, prompt in enumerate(prompts):
        if len(prompt) == 0:
            raise PromptError(row, "no tokens at all", fix="give it some text, or a tokenizer with a BOS token")
        if longest is not None and len(prompt) + options.max_new_tokens > longest:
            raise PromptError(
                row,
                f"{len(prompt):,} tokens and {options.max_new_tokens:,} new ones do not fit the "
                f"{longest:,} positions of the model",
                fix="shorten the prompt or lower max_new_tokens",
            )
        if not 0 <= min(prompt) <= max(prompt) < num_embeddings:
            wrong = next(token for token in prompt if not 0 <= token < num_embeddings)
            raise PromptError(
                row,
                f"token id {wrong} is outside the model's {num_embeddings:,} embeddings",
                fix="use the tokenizer that belongs to the model",
            )
