"""Batched sampling from a causal language model, with the same answer for a prompt in any batch.

Each row draws its own uniforms from its own seed, one a token, and takes the token where the cumulative
probability (float64, in order of id) passes the uniform. In that order the result is continuous in the logits:
rounding that differs with the batch moves a border by about 1e-7 and cannot swap two equal neighbours.
Rows are sorted by length and batched by a token budget; equal prompts (n samples of one record) are prefilled
once; when half of a batch has finished, its rows leave the KV cache, so one slow row does not hold the others.
Cost besides the model: a float64 softmax and cumulative sum per token; a sort only for top-k and top-p; with
stop strings, one decoding of the row per token.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from transformers import DynamicCache, PreTrainedModel

from seatools.engine.load import max_positions
from seatools.streams.errors import SeaError, UsageError

Decode = Callable[[list[int]], str]


@dataclass(frozen=True, kw_only=True)
class SamplingOptions:
    """How to choose the next token and when to stop. Order: temperature, top-k, top-p, min-p, as transformers does."""

    max_new_tokens: int = 128
    """Most tokens an answer may have."""
    temperature: float = 1.0
    """Divides the logits; 0 takes the most likely token (the lowest id of equals)."""
    top_p: float = 1.0
    """Keep the fewest most likely tokens that together reach this probability; 1 keeps all."""
    top_k: int = 0
    """Keep this many most likely tokens; 0 keeps all."""
    min_p: float = 0.0
    """Keep tokens at least this likely relative to the most likely one; 0 keeps all."""
    stop_ids: frozenset[int] = frozenset()
    """Token ids that end an answer; they are not part of it."""
    stop_strings: tuple[str, ...] = ()
    """Texts that end an answer; they are not part of it."""

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise UsageError(f"max_new_tokens is {self.max_new_tokens}; it must be at least 1")
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise UsageError(f"temperature is {self.temperature}; it must be 0 (greedy) or more")
        if not 0 < self.top_p <= 1:
            raise UsageError(f"top_p is {self.top_p}; it must be above 0 and at most 1")
        if self.top_k < 0:
            raise UsageError(f"top_k is {self.top_k}; it must be 0 (all) or more")
        if not 0 <= self.min_p <= 1:
            raise UsageError(f"min_p is {self.min_p}; it must be between 0 and 1")
        if isinstance(self.stop_strings, str) or not all(self.stop_strings):
            raise UsageError("stop_strings must be a tuple of texts, none of them empty")


@dataclass(frozen=True)
class Generated:
    """One answer: its ids without the stop id, why it ended, and (only where `decode` was given) its text.

    A stop string may begin inside a token: `ids` then ends before that token, `text` exactly before the string.
    """

    ids: list[int]
    finish: Literal["stop", "length"]
    text: str | None = None


class PromptError(SeaError):
    """A prompt that cannot be answered; `row` is its index, for a caller that knows the file and line."""

    def __init__(self, row: int, what: str, *, fix: str | None = None) -> None:
        super().__init__(f"prompt {row}: {what}", fix=fix)
        self.row = row


def kept_probabilities(logits: torch.Tensor, options: SamplingOptions) -> torch.Tensor:
    """Probabilities up to a factor, float64 [rows, vocabulary], zero where top-k, top-p or min-p drop a token.

    `logits`: [rows, vocabulary], any float dtype; temperature must be above 0. Of equally likely tokens at a
    border the lower ids stay. Top-p works on what top-k left, min-p relative to the most likely token.
    """
    scores = logits.double()
    weights = ((scores - scores.amax(-1, keepdim=True)) / options.temperature).exp()
    if options.top_k or options.top_p < 1:
        ranked, order = weights.sort(dim=-1, descending=True, stable=True)
        if options.top_k:
            ranked[:, options.top_k :] = 0
        if options.top_p < 1:
            before = ranked.cumsum(-1) - ranked
            ranked = ranked.masked_fill(before >= options.top_p * ranked.sum(-1, keepdim=True), 0)
        weights = torch.zeros_like(weights).scatter_(-1, order, ranked)
    if options.min_p:
        weights = weights.masked_fill(weights < options.min_p, 0)  # the most likely token weighs exactly 1
    return weights


def next_tokens(logits: torch.Tensor, options: SamplingOptions, uniforms: torch.Tensor) -> torch.Tensor:
    """The next token of each row, int64 [rows], by inverse CDF at `uniforms` (float64 [rows], in [0, 1))."""
    if options.temperature == 0:
        return logits.argmax(-1)
    cumulative = kept_probabilities(logits, options).cumsum(-1)
    # A uniform is at most 1 - 2**-53, so the target is below the total: the first entry above it exists and has weight.
    targets = uniforms.unsqueeze(-1) * cumulative[:, -1:]
    return torch.searchsorted(cumulative, targets, right=True).squeeze(-1)


def generate(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    options: SamplingOptions,
    *,
    seeds: Sequence[int],
    batch_tokens: int = 16384,
    decode: Decode | None = None,
    progress: Callable[[int], Any] | None = None,
) -> list[Generated]:
    """One answer per prompt, in the order of the prompts; `seeds[i]` alone decides the chance of row i.

    `batch_tokens` bounds rows x (longest prompt + max_new_tokens) of a batch; a longer single row runs alone.
    `decode` is needed for stop strings. `progress` is called with the number of rows that have just finished.
    Raises PromptError for an empty prompt, one too long for the model, or one with an id outside its vocabulary.
    """
    if len(seeds) != len(prompts):
        raise ValueError(f"{len(prompts)} prompts but {len(seeds)} seeds")
    if model.training:
        raise ValueError("the model is in training mode; call model.eval() first")
    if options.stop_strings and decode is None:
        raise UsageError("stop strings need a tokenizer to decode with")
    if batch_tokens < 1:
        raise UsageError(f"batch_tokens is {batch_tokens}; it must be at least 1")
    if any(seed < 0 for seed in seeds):
        raise UsageError(f"seed {min(seeds)} is negative")
    _check_prompts(model, prompts, options)
    answers: list[Generated | None] = [None] * len(prompts)
    with torch.inference_mode():
        for rows in _batches([len(prompt) for prompt in prompts], prompts, options.max_new_tokens, batch_tokens):
            for row, answer in _answer_batch(model, prompts, rows, options, seeds, decode):
                answers[row] = answer
                if progress is not None:
                    progress(1)
    return [answer for answer in answers if answer is not None]


def _check_prompts(model: PreTrainedModel, prompts: Sequence[Sequence[int]], options: SamplingOptions) -> None:
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


def _batches(
    lengths: list[int], prompts: Sequence[Sequence[int]], max_new_tokens: int, batch_tokens: int
) -> Iterator[list[int]]:
    """Row indices, longest first (running out of memory shows at once), equal prompts side by side."""
    rows: list[int] = []
    for row in sorted(range(len(prompts)), key=lambda row: (-lengths[row], tuple(prompts[row]), row)):
        if rows and (len(rows) + 1) * (lengths[rows[0]] + max_new_tokens) > batch_tokens:
            yield rows
            rows = []
        rows.append(row)
    if rows:
        yield rows


def _answer_batch(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    rows: list[int],
    options: SamplingOptions,
    seeds: Sequence[int],
    decode: Decode | None,
) -> Iterator[tuple[int, Generated]]:
    """Yields (row, answer) as the rows finish."""
    device, steps = model.device, options.max_new_tokens
    uniforms = torch.from_numpy(np.stack([np.random.default_rng(seeds[row]).random(steps) for row in rows])).to(device)
    cache, logits, mask = _prefill(model, [list(prompts[row]) for row in rows], steps)
    width = mask.shape[1] - steps
    lengths = torch.tensor([len(prompts[row]) for row in rows], device=device)
    live = list(rows)  # the row of the input that each row of the batch answers
    answers: dict[int, list[int]] = {row: [] for row in rows}
    for step in range(steps):
        tokens = next_tokens(logits, options, uniforms[:, step])
        broken = ~torch.isfinite(logits.amax(-1))
        keep = []
        for position, (row, token, is_broken) in enumerate(zip(live, tokens.tolist(), broken.tolist(), strict=True)):
            if row not in answers:
                continue
            if is_broken:
                raise PromptError(row, "the model gave logits that are not finite", fix="try --dtype bf16 or fp32")
            answer = _extend(answers[row], token, options, decode)
            if answer is None and step + 1 == steps:
                answer = Generated(answers[row], "length", decode(answers[row]) if decode else None)
            if answer is None:
                keep.append(position)
            else:
                del answers[row]
                yield row, answer
        if not answers:
            return
        if 2 * len(keep) <= len(live):
            kept = torch.tensor(keep, device=device)
            cache.batch_select_indices(kept)
            mask, lengths, uniforms, tokens = mask[kept], lengths[kept], uniforms[kept], tokens[kept]
            live = [live[position] for position in keep]
        logits = model(
            input_ids=tokens.unsqueeze(-1),
            attention_mask=mask[:, : width + step + 1],
            position_ids=(lengths + step).unsqueeze(-1),
            past_key_values=cache,
            use_cache=True,
        ).logits[:, -1]


def _prefill(
    model: PreTrainedModel, prompts: list[list[int]], steps: int
) -> tuple[DynamicCache, torch.Tensor, torch.Tensor]:
    """Run the prompts, padded on the left, equal ones once.

    Returns the cache, the logits after each prompt [rows, vocabulary], and a mask int64 [rows, width + steps]
    that already has its ones for the tokens to come.
    """
    unique = {tuple(prompt): None for prompt in prompts}
    place = {prompt: index for index, prompt in enumerate(unique)}
    width = max(map(len, unique))
    ids = torch.zeros(len(unique), width, dtype=torch.int64)
    mask = torch.ones(len(unique), width + steps, dtype=torch.int64)
    for prompt, index in place.items():
        ids[index, width - len(prompt) :] = torch.tensor(prompt)
        mask[index, : width - len(prompt)] = 0
    ids, mask = ids.to(model.device), mask.to(model.device)
    cache = DynamicCache(config=model.config)
    if any(cache.is_linear):
        raise SeaError(f"{type(model).__name__} keeps a recurrent state, which padded batches would corrupt")
    logits = model(
        input_ids=ids,
        attention_mask=mask[:, :width],
        position_ids=(mask[:, :width].cumsum(-1) - 1).clamp(min=0),
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    ).logits[:, -1]
    if len(unique) < len(prompts):
        copies = torch.tensor([place[tuple(prompt)] for prompt in prompts], device=model.device)
        cache.batch_select_indices(copies)
        logits, mask = logits[copies], mask[copies]
    return cache, logits, mask


def _extend(ids: list[int], token: int, options: SamplingOptions, decode: Decode | None) -> Generated | None:
    """Add `token` to `ids` in place; the finished answer if that ends it, else None."""
    if token in options.stop_ids:
        return Generated(ids, "stop", decode(ids) if decode else None)
    ids.append(token)
    if not options.stop_strings or decode is None:
        return None
    text = decode(ids)
    found = [place for stop in options.stop_strings if (place := text.find(stop)) >= 0]
    if not found:
        return None
    text = text[: min(found)]
    # The longest run of tokens whose text is a beginning of what is kept; at zero tokens that is the empty text.
    end = len(ids)
    while end and not text.startswith(decode(ids[:end])):
        end -= 1
    return Generated(ids[:end], "stop", text)
