"""Answers in padded batches by transformers' own cache: for models that packed_generation.py cannot run (ALiBi, biases
of their own). Rows are sorted by length and batched by a budget; when half of a batch has finished, its rows leave the
cache. A model whose rotary frequencies change with the length answers one prompt at a time, as it would alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from seatools.engine.packed_generation import changes_with_length
from seatools.engine.prompts import PromptError
from seatools.engine.sampling import SamplingOptions, next_tokens, penalised
from seatools.engine.stop_strings import Answer, Decode, Generated
from seatools.streams.errors import SeaError

if TYPE_CHECKING:
    from transformers import DynamicCache, PreTrainedModel


def padded_answers(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    options: SamplingOptions,
    *,
    seeds: Sequence[int],
    batch_tokens: int,
    decode: Decode | None,
) -> Iterator[tuple[int, Generated]]:
    """(index of the prompt, answer) as the answers finish. SeaError for a model that keeps a recurrent state."""
    if changes_with_length(model):
        batch_tokens = 1
    for rows in _batches(prompts, options.max_new_tokens, batch_tokens):
        yield from _answer_batch(model, prompts, rows, options, seeds, decode)


def _batches(prompts: Sequence[Sequence[int]], max_new_tokens: int, batch_tokens: int) -> Iterator[list[int]]:
    """Row indices, longest first (running out of memory shows at once)."""
    rows: list[int] = []
    for row in sorted(range(len(prompts)), key=lambda row: (-len(prompts[row]), row)):
        if rows and (len(rows) + 1) * (len(prompts[rows[0]]) + max_new_tokens) > batch_tokens:
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
    device, steps = model.device, options.max_new_tokens
    uniforms = torch.from_numpy(np.stack([np.random.default_rng(seeds[row]).random(steps) for row in rows])).to(device)
    cache, logits, mask = _prefill(model, [list(prompts[row]) for row in rows], steps)
    width = mask.shape[1] - steps
    lengths = torch.tensor([len(prompts[row]) for row in rows], device=device)
    live = list(rows)  # the row of the input that each row of the batch answers
    answers = {row: Answer(options, decode) for row in rows}
    for step in range(steps):
        broken = ~torch.isfinite(logits.amax(-1))
        if options.repetition_penalty != 1:
            made = {row: answers[row].ids if row in answers else [] for row in live}
            seen = [np.array([*prompts[row], *made[row]], dtype=np.int64) for row in live]
            logits = penalised(logits, seen, options.repetition_penalty)
        tokens = next_tokens(logits, options, uniforms[:, step])
        keep = []
        for position, (row, token, is_broken) in enumerate(zip(live, tokens.tolist(), broken.tolist(), strict=True)):
            if row not in answers:
                continue
            if is_broken:
                raise PromptError(row, "the model gave logits that are not finite", fix="try --dtype bf16 or fp32")
            if (answer := answers[row].add(token)) is None:
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
    """Run the prompts, padded on the left.

    Returns the cache, the logits after each prompt [rows, vocabulary], and a mask int64 [rows, width + steps]
    that already has its ones for the tokens to come.
    """
    from transformers import DynamicCache

    width = max(map(len, prompts))
    ids = torch.zeros(len(prompts), width, dtype=torch.int64)
    mask = torch.ones(len(prompts), width + steps, dtype=torch.int64)
    for index, prompt in enumerate(prompts):
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
    return cache, logits, mask
