"""One DPO run: pairs in the order of (seed, step), the sigmoid loss against a cached reference.

The loss of a step is the mean over its pairs, however it is cut into micro-batches. Only the trained model is in
memory: the reference is two numbers a pair.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seatools.dpo.options import DPOOptions
from seatools.dpo.pairs import Pair
from seatools.dpo.sigmoid_loss import reward_margins, sigmoid_losses
from seatools.engine.loop import run_steps
from seatools.engine.optimise import MasterAdamW
from seatools.engine.row_order import rows_of_step, steps_for_epochs
from seatools.engine.sequences import sequence_log_probs
from seatools.streams.messages import Messages

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_LOGGED = ("loss", "reward_chosen", "reward_rejected", "accuracy", "logp_chosen", "logp_rejected")


def align(
    model: PreTrainedModel,
    pairs: Sequence[Pair],
    reference: dict[str, np.ndarray],
    options: DPOOptions,
    *,
    out: Path,
    pad_id: int,
    fingerprint: dict[str, Any],
    resume: bool,
    messages: Messages,
) -> dict[str, Any]:
    """Take the steps; returns counts for the manifest. The aligned weights are in `model`."""
    batch_size = min(options.batch_size, len(pairs))
    total = options.max_steps or steps_for_epochs(options.epochs, batch_size=batch_size, num_rows=len(pairs))
    optimizer = MasterAdamW(list(model.named_parameters()), weight_decay=options.weight_decay)
    messages.info(f"{len(pairs):,} pairs, {total:,} steps of {batch_size}, beta {options.beta}")
    gradients = _gradients(model, pairs, reference, options, batch_size, pad_id)
    run_steps(
        model, optimizer, gradients, options.loop(total), out=out, fingerprint=fingerprint | {"max_steps": total},
        resume=resume, messages=messages, label="aligning",
    )  # fmt: skip
    return {"steps": total, "pairs": len(pairs)}


def _gradients(
    model: PreTrainedModel,
    pairs: Sequence[Pair],
    reference: dict[str, np.ndarray],
    options: DPOOptions,
    batch_size: int,
    pad_id: int,
) -> Callable[[int], dict[str, Any]]:
    import torch

    ref_chosen, ref_rejected = (torch.from_numpy(reference[key]).to(model.device) for key in ("chosen", "rejected"))
    micro = options.micro_batch or batch_size

    def gradients(step: int) -> dict[str, Any]:
        numbers = rows_of_step(step, batch_size=batch_size, num_rows=len(pairs), seed=options.seed)
        sums = dict.fromkeys(_LOGGED, 0.0)
        tokens = 0
        for first in range(0, len(numbers), micro):
            part = numbers[first : first + micro]
            docs = [pairs[i].chosen.document for i in part] + [pairs[i].rejected.document for i in part]
            tokens += sum(len(ids) for ids, _ in docs)
            log_probs = sequence_log_probs(model, docs, pad_id)
            chosen, rejected = log_probs[: len(part)], log_probs[len(part) :]
            good, bad = reward_margins(chosen, rejected, ref_chosen[part], ref_rejected[part], options.beta)
            losses = sigmoid_losses(good, bad)
            (losses.sum() / len(numbers)).backward()
            with torch.no_grad():
                values = (losses, good, bad, (good > bad).float(), chosen, rejected)
                for key, value in zip(sums, values, strict=True):
                    sums[key] += float(value.sum()) / len(numbers)
        margin = sums["reward_chosen"] - sums["reward_rejected"]
        return {**sums, "reward_margin": margin, "tokens": tokens, "rows": numbers}

    return gradients
