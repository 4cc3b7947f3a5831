"""The training loop that `train` and `dpo` share: accumulate, check, clip, step, log, save; exactly resumable.

What a step computes comes from the command (`gradients(step)`), and must be a pure function of the step, so that a
resumed run needs nothing replayed. Losses are normalised by the step's own count of targets there, not here. Every
step appends one line to `OUT/metrics.jsonl`; a resumed run first cuts the lines after its checkpoint. A loss or
gradient norm that is not finite stops the run before the update. Steps are counted from 1 here and in the metrics.
After each step the ranks agree, in one message, whether to save (the main one's clock) and whether a signal came.
A step is saved before it is evaluated: an evaluation that is cut short costs nothing and is made up for on resuming.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import torch

from seatools.engine.checkpoint import checkpoint_state, latest_checkpoint, load_checkpoint
from seatools.engine.checkpoint_writer import CheckpointWriter
from seatools.engine.loop_options import LoopOptions
from seatools.engine.optimise import MasterAdamW, clip_grad_norm
from seatools.engine.run_folder import CHECKPOINTS, EVAL_KIND, METRICS
from seatools.engine.schedule import learning_rate
from seatools.engine.step_figures import StepFigures, live_note
from seatools.engine.stop_signals import StopSignals
from seatools.engine.tensor_rows import is_shared
from seatools.engine.world import SINGLE, World
from seatools.streams.errors import CheckFailed, Preempted, SeaError, UsageError
from seatools.streams.messages import Messages
from seatools.streams.outputs import write_atomic
from seatools.streams.progress import Progress

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Computes one step's gradients (backward included) and returns what to log: "loss" and "tokens" at least.
Gradients = Callable[[int], dict[str, Any]]
# Figures after a step (0: before the first), or None where the second argument said that it is time to stop.
Evaluate = Callable[[int, Callable[[], bool]], dict[str, Any] | None]


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
    world: World = SINGLE,
    evaluate: Evaluate | None = None,
    before_save: Callable[[], None] | None = None,
    on_line: Callable[[dict[str, Any]], None] | None = None,
) -> int:
    """Train to `options.max_steps`; returns the step it started from. Every rank of `world` calls it.

    `fingerprint` is what must be equal for a resumed run to continue the same run (data, seed, sizes): it is stored
    in every checkpoint, and one that differs is refused by name. The world's size does not belong to it.
    `gradients` leaves on every rank the same gradients, or its own rows of them where weights are shared (`shard`),
    and the same row; row["forensics"](out), where there is one, says what to look at when they are not finite.
    `evaluate` is called before the first step, every `options.eval_every` and after the last; stopping is asked of it
    on each rank by itself. What it raises as CheckFailed ends the run after a save, its `figures` logged.
    `before_save` raises SeaError when the model must not be saved. `on_line` gets every metrics line (main rank).
    Raises Preempted after SIGTERM or SIGUSR1, once a checkpoint of the last step is on the disk.
    """
    run = _Run(model, optimizer, options, out, fingerprint, world, before_save, on_line)
    with StopSignals() as signals:

        def wants_to_stop() -> bool:  # on this rank
            return signals.received is not None

        resume = world.any(resume)  # resuming is a talk of all ranks, and each may have looked for the run by itself
        start = run.resume() if resume else 0
        if resume and world.is_main and not messages.quiet:
            at = f"continuing from step {start}" if start else "no checkpoint yet, from step 0"
            messages.info(f"{label}: {at}")
        bar = Progress(label, total=options.max_steps, unit="steps", quiet=messages.quiet or not world.is_main)
        bar.done = start
        if start < options.max_steps:
            run.writer.check_room(model, optimizer)
        with run.resumable(messages), run.writer, run.open_metrics(append=start > 0), bar:
            for step in range(start, options.max_steps + 1):
                if step > start:
                    bar.advance(1, live_note(run.take_step(step, gradients)))
                if evaluate is None and step == start:
                    continue
                due, stop = world.agree(run.is_time_to_save(step), wants_to_stop())
                if due and step > start:
                    run.save(step)
                if not stop and evaluate is not None and run.is_evaluation_due(step, start):
                    stop = world.any(not run.log_evaluation(step, evaluate, wants_to_stop) or wants_to_stop())
                if stop:
                    run.save(step)
                    break
        if world.any(wants_to_stop()):  # seen above, or only while the last save was written
            name = signals.received or "a signal to another process"
            raise Preempted(
                f"stopped by {name} after step {step}", where=str(out), fix="the same command with --resume"
            )
    return start


class _Run:
    """The state of a run between its steps: what is written where, and what has been."""

    def __init__(
        self,
        model: PreTrainedModel,
        optimizer: MasterAdamW,
        options: LoopOptions,
        out: Path,
        fingerprint: dict[str, Any],
        world: World,
        before_save: Callable[[], None] | None,
        on_line: Callable[[dict[str, Any]], None] | None,
    ) -> None:
        self.model, self.optimizer, self.options, self.world = model, optimizer, options, world
        self.out, self.fingerprint, self.before_save, self.on_line = out, fingerprint, before_save, on_line
        on_cuda = model.device.type == "cuda"
        self.writer = CheckpointWriter(
            out / CHECKPOINTS, keep=options.keep, world=world,
            asynchronous=on_cuda if options.async_save is None else options.async_save,
        )  # fmt: skip
        self.figures = StepFigures(model, optimizer, world)
        self.sum_over_ranks = world.sum if any(is_shared(p) for p in model.parameters()) else None
        self.metrics: Any = None
        self.evaluated: set[int] = set()  # by the run that is resumed
        self.saved = 0  # the newest step that has a checkpoint
        self.saved_at = time.monotonic()

    def resume(self) -> int:
        """Take over the newest checkpoint; its step, or 0 where there is none."""
        folder = latest_checkpoint(self.out)
        step = int(folder.name[5:]) if folder is not None else 0
        if self.world.any(int(self.world.sum(torch.tensor(step))) != step * self.world.size):
            raise SeaError(
                f"the processes see different checkpoints, this one step {step}", where=str(self.out),
                fix="OUT must be one folder that all machines share",
            )  # fmt: skip
        if folder is None:
            return 0
        # Before the tensors: another --dtype or --neurons is then refused by its name, not by a tensor's.
        state = checkpoint_state(folder)
        if state["step"] != step:
            raise SeaError(f"is a checkpoint of step {state['step']}: was it renamed?", where=str(folder))
        for key, value in self.fingerprint.items():
            if state.get(key) != value:
                raise UsageError(
                    f"{folder} belongs to another run: {key} was {state.get(key)}, now {value}",
                    fix="repeat the options of the first run, or start afresh with --force",
                )
        load_checkpoint(folder, model=self.model, optimizer=self.optimizer)
        self.saved = state["step"]
        path = self.out / METRICS
        lines = path.read_bytes().splitlines() if path.exists() else []
        kept = [line for line in lines if _line_step(line) <= self.saved]
        self.evaluated = {int(_line_step(line)) for line in kept if orjson.loads(line).get("kind") == EVAL_KIND}
        self.world.barrier()  # all have read it
        if self.world.is_main and lines:
            write_atomic(path, b"".join(line + b"\n" for line in kept))
        return self.saved

    @contextlib.contextmanager
    def resumable(self, messages: Messages) -> Iterator[None]:
        """Where a Ctrl-C ends it, say what is kept: unlike SIGTERM it saves nothing."""
        try:
            yield
        except KeyboardInterrupt:
            kept = f"kept to step {self.saved}; the same command with --resume goes on"
            if self.world.is_main:
                messages.info(f"{self.out}: {kept if self.saved else 'no step is kept (--save-every, --save-minutes)'}")
            raise

    def open_metrics(self, *, append: bool) -> Any:
        """The metrics file as a context; on the other ranks one that takes nothing."""
        path = self.out / METRICS if self.world.is_main else os.devnull
        self.metrics = open(path, "ab" if append else "wb")  # noqa: SIM115 (the caller's `with` closes it)
        return self.metrics

    def log(self, line: dict[str, Any]) -> None:
        """Append a line to the metrics."""
        if not self.world.is_main:
            return
        self.metrics.write(orjson.dumps(line) + b"\n")
        self.metrics.flush()
        if self.on_line is not None:
            self.on_line(line)

    def take_step(self, step: int, gradients: Gradients) -> dict[str, Any]:
        """One update; returns its metrics line, already logged."""
        options = self.options
        lr = learning_rate(  # which counts from 0: every step has a rate above 0
            step - 1, peak=options.lr, warmup_steps=options.warmup_steps, total_steps=options.max_steps,
            kind=options.schedule,
        )  # fmt: skip
        began = time.perf_counter()
        self.optimizer.zero_grad()
        try:
            row = gradients(step)
        except torch.OutOfMemoryError as error:
            fix = "a smaller --micro-batch (it changes nothing else), or shorter rows"
            raise SeaError(f"step {step}: out of GPU memory", fix=fix) from error
        norm = float(clip_grad_norm(self.optimizer, options.clip, **self._clipping))
        forensics, rows = row.pop("forensics", None), row.pop("rows", "unknown")
        if not (math.isfinite(row["loss"]) and math.isfinite(norm)):  # both are equal on all ranks
            hint = ""
            if forensics is not None and self.world.is_main:
                with contextlib.suppress(OSError):  # a full disk does not hide what ended the run
                    hint = forensics(self.out)
            raise SeaError(
                f"step {step}: loss {row['loss']}, gradient norm {norm}: stopped before the update",
                where=str(self.out),
                fix=f"a lower --lr, or look at {hint or f'the rows of this step: {rows}'}",
            )
        self.optimizer.step(lr)
        figures = self.figures.of(row, time.perf_counter() - began)
        line = {"step": step, **row, "lr": lr, "grad_norm": norm, **figures}
        self.log(line)
        return line

    @property
    def _clipping(self) -> dict[str, Any]:
        return {} if self.sum_over_ranks is None else {"sum_over_ranks": self.sum_over_ranks}

    def is_time_to_save(self, step: int) -> bool:
        """Whether the step is to be saved: the last one, every so many steps, or minutes of the main rank's clock."""
        options = self.options
        if step == options.max_steps or (options.save_every and step % options.save_every == 0):
            return True
        minutes = options.save_minutes if self.world.is_main else 0
        return minutes > 0 and time.monotonic() - self.saved_at >= 60 * minutes

    def save(self, step: int) -> None:
        """Save the step, unless it has a checkpoint or is none."""
        if step <= self.saved:
            return
        if self.before_save is not None:
            self.before_save()
        if self.world.is_main:  # a checkpoint that outlives a crash of the machine comes with its lines
            os.fsync(self.metrics.fileno())
        self.writer.save(self.model, self.optimizer, {"step": step, **self.fingerprint})
        self.saved, self.saved_at = step, time.monotonic()

    def is_evaluation_due(self, step: int, start: int) -> bool:
        """Whether the model is to be evaluated after `step`, and was not by the run that is resumed."""
        every = self.options.eval_every
        due = step in (0, self.options.max_steps) or (every > 0 and step % every == 0)
        return due and not (step == start and step in self.evaluated)

    def log_evaluation(self, step: int, evaluate: Evaluate, stop: Callable[[], bool]) -> bool:
        """Evaluate and log; False where it was told to stop."""
        try:
            figures = evaluate(step, stop)
        except CheckFailed as error:
            if isinstance(getattr(error, "figures", None), dict):
                self.log({"step": step, "kind": EVAL_KIND, **error.figures})  # type: ignore[attr-defined]
            self.save(step)
            raise
        if figures is not None:
            self.log({"step": step, "kind": EVAL_KIND, **figures})
        return figures is not None


def _line_step(line: bytes) -> float:
    try:
        step = orjson.loads(line)["step"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return math.inf  # a line cut off by the crash
    return float(step) if type(step) in (int, float) else math.inf
