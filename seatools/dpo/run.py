"""The steps of one run on pairs, against a cached reference. Only the trained model is in memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from seatools.dpo.options import DPOOptions
from seatools.dpo.pairs import Pair
from seatools.dpo.step import PairGradients, StepOptions
from seatools.engine.answer_log_probs import can_share_prompts
from seatools.engine.evaluate import EvalSet
from seatools.engine.forgetting import ForgettingGauge
from seatools.engine.loop import run_steps
from seatools.engine.loss import target_log_probs
from seatools.engine.row_order import steps_for_epochs
from seatools.engine.run_guard import LostSteps, check_changed, model_guard
from seatools.engine.trainee import Trainee, make_optimizer
from seatools.engine.watch import evaluation
from seatools.engine.world import World
from seatools.streams.errors import UsageError
from seatools.streams.messages import Messages
from seatools.text.token_bytes import token_num_bytes
from seatools.text.tokenizer import Tokenizer


def shares_prompts(trainee: Trainee, pairs: Sequence[Pair], options: DPOOptions) -> bool:
    """Whether prompts are computed once for both answers: as asked for, else where model and pairs allow it.

    Every rank calls it. UsageError for --share-prompt with a model that cannot.
    """
    if options.share_prompt is False or not (options.share_prompt or any(pair.shared > 1 for pair in pairs)):
        return False
    log_probs = trainee.root.log_probs if trainee.shared else target_log_probs
    reason = can_share_prompts(trainee.model, log_probs=log_probs)
    if reason is not None and options.share_prompt:
        raise UsageError(f"--share-prompt: {reason}", fix="--attention sea_varlen, or leave --share-prompt out")
    return reason is None


def align(
    trainee: Trainee,
    pairs: Sequence[Pair],
    reference: dict[str, np.ndarray],
    options: DPOOptions,
    *,
    out: Path,
    tokenizer: Tokenizer,
    share_prompt: bool,
    fingerprint: dict[str, Any],
    resume: bool,
    messages: Messages,
    world: World,
    eval_sets: Sequence[EvalSet] = (),
    gauge: ForgettingGauge | None = None,
    on_line: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Take the steps; returns counts for the manifest. The aligned weights are in the trainee's model.

    `pairs` are those that an epoch reads, one that is read twice standing in it twice, and `reference` ("chosen" and
    "rejected" float32 [pairs]) in the same order.
    """
    model, pad_id = trainee.model, tokenizer.pad_id or 0
    batch_size = min(options.batch_size, len(pairs))
    total = options.max_steps or steps_for_epochs(options.epochs, batch_size=batch_size, num_rows=len(pairs))
    without_bytes = frozenset(np.flatnonzero(token_num_bytes(tokenizer) == 0).tolist())
    guard = model_guard(model, tokenizer.vocab_size, exempt=without_bytes, world=world, out=out)
    guard()
    optimizer = make_optimizer(trainee, options)
    tie = f"{options.loss}, beta {options.beta:g}" + (", prompts computed once a pair" if share_prompt else "")
    messages.info(f"{len(pairs):,} pairs an epoch, {total:,} steps of {batch_size}; {tie}")
    settings = cast(StepOptions, dataclasses.replace(options, share_prompt=share_prompt))
    gradients = PairGradients(
        trainee.root, optimizer, pairs, reference, settings, pad_id=pad_id, world=world, messages=messages
    )
    lost = LostSteps(trainee, optimizer, options, total=total, world=world, messages=messages)

    def step_gradients(step: int) -> dict[str, Any]:
        lost.before(step)
        return gradients(step)

    before = optimizer.fingerprint()
    start = run_steps(
        model, optimizer, step_gradients, options.loop(total), out=out, fingerprint=fingerprint | {"max_steps": total},
        resume=resume, messages=messages, label="aligning", world=world, before_save=guard, on_line=on_line,
        evaluate=evaluation(trainee, eval_sets, gauge, pad_id=pad_id, world=world, messages=messages),
    )  # fmt: skip
    lost.warn()
    check_changed(optimizer, before, total - start, world)
    return {"steps": total, "pairs": len(pairs), "trained_parameters": optimizer.num_trained()}
