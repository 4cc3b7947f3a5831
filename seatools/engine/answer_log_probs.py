"""Log-probabilities of two answers to one prompt, the prompt computed once for both of them.

Pairs lie end to end in one row, without padding: [prompt | chosen], then [rejected], which goes on from the prompt with
its positions and sees it and itself (`rows.Continued`). The last token that both share stands in either part, as the
first token of an answer is predicted from it: p shared tokens are computed once but for one, which is computed twice.
Log-probabilities and gradients are those of the answers apart, up to rounding.
Only attention that knows such rows can do it (`sea_varlen`); for others `can_share_prompts` says why not.
Cost beside plain rows: a second call of the attention kernel a pair, over the prompt's keys.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from seatools.engine import attention
from seatools.engine.loss import LogProbs, target_log_probs
from seatools.engine.rows import Batch, Continued, Document
from seatools.engine.sequences import sequence_log_probs
from seatools.engine.tensor_rows import is_shared

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TargetLogProbs = Callable[["PreTrainedModel", Batch], LogProbs]


class AnswerPair(NamedTuple):
    """Two answers, each with its prompt; both begin with the same `shared` tokens, none of them trained."""

    chosen: Document
    rejected: Document
    shared: int


class AnswerLogProbs(NamedTuple):
    """log p(answer | prompt) [n] float32 in nats, summed over the trained tokens, and their numbers [n] float32."""

    chosen: Tensor  # differentiable
    rejected: Tensor  # differentiable
    chosen_tokens: Tensor
    rejected_tokens: Tensor


def answer_log_probs(
    model: PreTrainedModel,
    pairs: Sequence[AnswerPair],
    pad_id: int,
    *,
    share_prompt: bool,
    log_probs: TargetLogProbs = target_log_probs,
) -> AnswerLogProbs:
    """The log-probabilities of the trained tokens of n pairs (n may be 0: the model runs, nothing is learned).

    `log_probs` runs the model over a batch; another than the usual serves a model that is sharded over ranks.
    With `share_prompt`, NotImplementedError for a model that `can_share_prompts` gives a reason for.
    """
    lens = [[_num_targets(doc) for doc in (pair.chosen, pair.rejected)] for pair in pairs]
    counts = torch.tensor(lens, dtype=torch.float32, device=model.device).view(-1, 2)
    one_row = share_prompt or (model.device.type == "cpu" and _attention(model) == attention.NAME)
    if not pairs or not one_row:
        docs = [pair.chosen for pair in pairs] + [pair.rejected for pair in pairs]
        sums = sequence_log_probs(model, docs, pad_id, log_probs=log_probs)
        return AnswerLogProbs(sums[: len(pairs)], sums[len(pairs) :], *counts.unbind(1))
    if not share_prompt:  # a row without padding all the same, as no mask of its size is made
        pairs = [pair._replace(shared=0) for pair in pairs]
    batch, owners = shared_row(pairs, model.device)
    found = log_probs(model, batch)
    sums = torch.zeros(2 * len(pairs), dtype=torch.float32, device=found.values.device)
    sums = sums.index_add(0, torch.from_numpy(owners).to(sums.device)[found.column], found.values).view(-1, 2)
    return AnswerLogProbs(*sums.unbind(1), *counts.unbind(1))


def num_computed(pair: AnswerPair, *, share_prompt: bool) -> int:
    """How many tokens the model runs over for a pair."""
    again = max(0, pair.shared - 1) if share_prompt else 0
    return len(pair.chosen[0]) + len(pair.rejected[0]) - again


def shared_row(pairs: Sequence[AnswerPair], device: torch.device | str = "cpu") -> tuple[Batch, np.ndarray]:
    """One row of all pairs, and the answer that each of its T tokens belongs to (int64): 2 i chosen, 2 i + 1 rejected.

    `continued` of the batch is None if no pair shares anything: then any attention knows it. Raises ValueError where
    the shared tokens of a pair differ or are trained.
    """
    ids, masks, positions, owners, starts, prompts, seen, seen_starts = [], [], [], [], [0], [], [], [0]
    for number, (chosen, rejected, shared) in enumerate(pairs):
        again = max(0, shared - 1)
        for which, ((tokens, mask), skipped) in enumerate(((chosen, 0), (rejected, again))):
            tokens, mask = np.asarray(tokens, dtype=np.int64), np.asarray(mask, dtype=bool)
            if which and not (
                np.array_equal(tokens[:shared], np.asarray(chosen[0][:shared], dtype=np.int64))
                and not mask[:shared].any()
                and not np.any(chosen[1][:shared])
            ):
                raise ValueError(f"pair {number}: its {shared} shared tokens differ or are trained")
            at, before = starts[-1], starts[-2] if which else 0
            end = at + len(tokens) - skipped
            ids.append(tokens[skipped:])
            masks.append(mask[skipped:])
            positions.append(np.arange(skipped, len(tokens)))
            owners.append(np.full(end - at, 2 * number + which))
            starts.append(end)
            prompts.append(skipped)
            seen += [np.arange(before, before + skipped), np.arange(at, end)]
            seen_starts.append(seen_starts[-1] + len(tokens))
    ends = torch.tensor([starts, seen_starts], dtype=torch.int32, device=device)
    continued = None
    if any(prompts):
        places_seen = torch.from_numpy(np.concatenate(seen)).to(device)
        continued = Continued(torch.tensor(prompts, dtype=torch.int32, device=device), places_seen, ends[1])
    row, places, targets = (
        torch.from_numpy(np.concatenate(parts))[None].to(device) for parts in (ids, positions, masks)
    )
    return Batch(row, places, targets, ends[:1], continued), np.concatenate(owners)


def can_share_prompts(model: PreTrainedModel, *, log_probs: TargetLogProbs = target_log_probs) -> str | None:
    """Why `model` cannot compute a prompt once for two answers, or None: it can, as two made-up pairs have shown.

    Cost: two forward passes of some tens of tokens, by `log_probs` on every rank.
    """
    name, vocab_size = _attention(model), model.config.get_text_config(decoder=True).vocab_size
    if name != attention.NAME:
        return f"its attention is {name}, which masks by positions"
    pairs = [_made_up(7, 5, 6, vocab_size), _made_up(4, 6, 3, vocab_size)]
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            apart, shared = (
                torch.stack(answer_log_probs(model, pairs, 0, share_prompt=share, log_probs=log_probs)[:2])
                for share in (False, True)
            )
    except (TypeError, ValueError, RuntimeError, AttributeError, NotImplementedError) as error:
        return f"{type(model).__name__} cannot run such rows: {str(error).splitlines()[0]}"
    finally:
        model.train(was_training)
    difference = float(((shared - apart).abs() / (1 + apart.abs())).max())
    exact = model.dtype == torch.float32 and not any(is_shared(p) for p in model.parameters())  # then maybe in bf16
    limit = 1e-3 if exact else 0.05
    if not difference <= limit:
        return f"{type(model).__name__} gives other log-probabilities then (off by {difference:.2g})"
    return None


def _attention(model: PreTrainedModel) -> str:
    return str(model.config.get_text_config(decoder=True)._attn_implementation)


def _made_up(prompt: int, chosen: int, rejected: int, vocab_size: int) -> AnswerPair:
    def answer(length: int, stride: int) -> Document:
        ids = [(3 + 7 * i) % vocab_size for i in range(prompt)] + [(5 + stride * i) % vocab_size for i in range(length)]
        return ids, [0] * prompt + [1] * length

    return AnswerPair(answer(chosen, 11), answer(rejected, 13), prompt)


def _num_targets(doc: Document) -> int:
    return int(np.count_nonzero(np.asarray(doc[1])[1:]))
