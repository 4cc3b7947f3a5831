"""The training loop that `train` and `dpo` share: accumulate, check, clip, step, log, save; exactly resumable.

What a step computes comes from the command (`gradients(step)`), and must be a pure function of the step, so that a
resumed run needs nothing replayed. Losses are normalised by the step's own count of targets there, not here. Every
step appends one line to `OUT/metrics.jsonl`; a resumed run first cuts the lines after its checkpoint. A loss or
gradient norm that is not finite stops the run before the update. Steps are counted from 1 here and in the metrics.
"""

from __future__ import annotations

import math
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import torch
from transformers import PreTrainedModel

from seatools.engine.checkpoint import STATE, latest_checkpoint, load_checkpoint, save_checkpoint
from seatools.engine.flops import flops_per_token, peak_flops
from seatools.engine.loop_options import LoopOptions
from seatools.engine.optimise import MasterAdamW, clip_grad_norm
from seatools.engine.run_folder import CHECKPOINTS, METRICS
from seatools.engine.schedule import learning_rate
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.messages import Messages
from seatools.streams.outputs import write_atomic
from seatools.streams.progress import Progress

# Computes one step's gradients (backward included) and returns what to log: "loss" and "tokens" at least.
Gradients = Callable[[int], dict[str, Any]]


def run_steps(
    model: PreTrainedModel,
    optimizer: MasterAdamW,
    gradients: Gradients,
    options: LoopOptions,
    *,
    out: Path,
    fingerprint: dict[str, Any],
    resume: bool,
    messages: Messages,
    label: str = "training",
) -> int:
    """Train to `options.max_steps`; returns the step it started from.

    `fingerprint` is what must be equal for a resumed run to continue the same run (data, seed, sizes): it is stored
    in every checkpoint, and one that differs is refused by name.
    """
    metrics_path = out / METRICS
    start = _resume(model, optimizer, out, fingerprint, metrics_path) if resume else 0
    if resume and not messages.quiet:
        messages.info(f"{label}: continuing from step {start}" if start else f"{label}: no checkpoint yet, from step 0")
    with open(metrics_path, "ab" if start else "wb") as metrics, _bar(label, options, start, messages) as bar:
        for step in range(start + 1, options.max_steps + 1):
            lr = learning_rate(  # which counts from 0: every step has a rate above 0
                step - 1, peak=options.lr, warmup_steps=options.warmup_steps, total_steps=options.max_steps,
                kind=options.schedule,
            )  # fmt: skip
            began = time.perf_counter()
            optimizer.zero_grad()
            try:
                row = gradients(step)
            except torch.OutOfMemoryError as error:
                fix = "a smaller --micro-batch (it changes nothing else), or shorter rows"
                raise SeaError(f"step {step}: out of GPU memory", fix=fix) from error
            norm = float(clip_grad_norm(optimizer, options.clip))
            if not (math.isfinite(row["loss"]) and math.isfinite(norm)):
                raise SeaError(
                    f"step {step}: loss {row['loss']}, gradient norm {norm}: stopped before the update",
                    where=str(out),
                    fix=f"a lower --lr, or look at the rows of this step: {row.get('rows', 'unknown')}",
                )
            optimizer.step(lr)
            seconds = time.perf_counter() - began
            row.pop("rows", None)
            line = {"step": step, **row, "lr": lr, "grad_norm": norm, **_speed(model, row["tokens"], seconds)}
            metrics.write(orjson.dumps(line) + b"\n")
            metrics.flush()
            bar.advance(1, f"loss {row['loss']:.3f}")
            if step == options.max_steps or (options.save_every and step % options.save_every == 0):
                _save(model, optimizer, out, step, fingerprint, options.keep)
    return start


def _bar(label: str, options: LoopOptions, start: int, messages: Messages) -> Progress:
    bar = Progress(label, total=options.max_steps, unit="steps", quiet=messages.quiet)
    bar.done = start
    return bar


def _speed(model: PreTrainedModel, tokens: int, seconds: float) -> dict[str, float | None]:
    """tokens/s, and model FLOP/s over the chip's dense bf16 peak (no recomputation counted) where that is known."""
    rate = tokens / max(seconds, 1e-9)
    peak = peak_flops(model.device)
    mfu = round(rate * flops_per_token(model) / peak, 4) if peak else None
    return {"tokens_per_second": round(rate, 1), "mfu": mfu}


def _save(
    model: PreTrainedModel, optimizer: MasterAdamW, out: Path, step: int, fingerprint: dict[str, Any], keep: int
) -> None:
    folder = out / CHECKPOINTS
    save_checkpoint(folder / f"step-{step}", model=model, optimizer=optimizer, state={"step": step, **fingerprint})
    steps = sorted(int(path.name[5:]) for path in folder.iterdir() if re.fullmatch(r"step-\d+", path.name))
    for stale in steps[:-keep]:
        shutil.rmtree(folder / f"step-{stale}")


def _resume(
    model: PreTrainedModel, optimizer: MasterAdamW, out: Path, fingerprint: dict[str, Any], metrics_path: Path
) -> int:
    folder = latest_checkpoint(out)
    if folder is None:
        return 0
    # Before the tensors: another --dtype or --neurons is then refused by its name, not by a tensor's.
    state = orjson.loads((folder / STATE).read_bytes())["state"]
    for key, value in fingerprint.items():
        if state.get(key) != value:
            raise UsageError(
                f"{folder} belongs to another run: {key} was {state.get(key)}, now {value}",
                fix="repeat the options of the first run, or start afresh with --force",
            )
    load_checkpoint(folder, model=model, optimizer=optimizer)
    step = int(state["step"])
    if metrics_path.exists():
        lines = metrics_path.read_bytes().splitlines(keepends=True)
        write_atomic(metrics_path, b"".join(line for line in lines if _line_step(line) <= step))
    return step


def _line_step(line: bytes) -> float:
    try:
        return float(orjson.loads(line)["step"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return math.inf  # a line cut off by the crash


@torch.no_grad()
def fingerprint_weights(model: PreTrainedModel) -> float:
    """A number that changes when any trained weight does: the sum of absolute values in float64, without a copy."""
    trained = [p.detach() for p in model.parameters() if p.requires_grad]
    return float(sum(torch.linalg.vector_norm(p, ord=1, dtype=torch.float64) for p in trained))
