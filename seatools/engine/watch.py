"""What is watched while a model is trained: bits per byte of held-out text, and whether its language is forgotten."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from seatools.engine.eval_data import eval_paths, read_eval_sets
from seatools.engine.forgetting import ForgettingGauge, ForgettingOptions, read_baseline
from seatools.engine.run_folder import CHECKPOINTS, METRICS
from seatools.engine.run_request import RunRequest
from seatools.engine.training_options import TrainingOptions
from seatools.engine.world import World
from seatools.streams.errors import UsageError
from seatools.streams.messages import Messages

if TYPE_CHECKING:
    from seatools.engine.evaluate import EvalSet
    from seatools.engine.loop import Evaluate
    from seatools.engine.trainee import Trainee
    from seatools.text.tokenizer import Tokenizer


def read_watch(
    request: RunRequest,
    options: TrainingOptions,
    tokenizer: Tokenizer,
    trained_files: Iterable[str],
    *,
    positions: int | None,
) -> tuple[list[EvalSet], ForgettingGauge | None]:
    """The held-out texts, tokenised for a model of so many positions, and the watch over one language of them."""
    named = eval_paths(request.eval_data)
    trained = {os.path.realpath(path) for path in trained_files}
    for path in [path for paths in named.values() for path in paths if os.path.realpath(path) in trained]:
        request.messages.warn(f"{path} is trained on and evaluated: its bits per byte say nothing of other text")
    sets = read_eval_sets(named, tokenizer, positions=positions, workers=request.workers)
    if options.source_lang is None:
        return sets, None
    watch = ForgettingOptions(
        lang=options.source_lang, limit=options.forget_limit, policy=options.on_forgetting,  # type: ignore[arg-type]
    )  # fmt: skip
    begun = request.baseline or (request.out / METRICS if request.resume else None)
    baseline = read_baseline(begun, watch.lang) if begun is not None else None
    if baseline is None and request.resume and any((request.out / CHECKPOINTS).glob("step-*")):
        raise UsageError(
            f"{watch.lang} was not evaluated before the first step of this run, so its forgetting cannot be told",
            fix="leave out --source-lang, or start afresh with --force",
        )
    return sets, ForgettingGauge(watch, request.messages, baseline)


def evaluation(
    trainee: Trainee,
    sets: Sequence[EvalSet],
    gauge: ForgettingGauge | None,
    *,
    pad_id: int,
    world: World,
    messages: Messages,
) -> Evaluate | None:
    """What `run_steps` calls to evaluate; None where there is no held-out text."""
    from seatools.engine.evaluate import evaluate_sets
    from seatools.engine.loss import target_log_probs

    def evaluate(step: int, stop: Callable[[], bool]) -> dict[str, Any] | None:
        figures: dict[str, Any] | None = evaluate_sets(
            trainee.model, sets, pad_id=pad_id, rank=world.rank, ranks=world.size, sum_over_ranks=world.sum, stop=stop,
            log_probs=trainee.root.log_probs if trainee.shared else target_log_probs,
        )  # fmt: skip
        if figures is None:
            return None
        shown = ", ".join(f"{name} {row['bits_per_byte']:.4f}" for name, row in figures.items())
        messages.info(f"step {step}: {shown} bits per byte")
        return figures if gauge is None else gauge.see(step, figures)

    return evaluate if sets else None
