"""Metrics to TensorBoard, Weights & Biases or trackio, when they are asked for and installed.

metrics.jsonl stays the record of a run; a tracker is a view of it that is fed the same lines, nested values by their
path (`th/bits_per_byte`). The packages are imported when one is opened, so that a missing one is a line before any
work and not a traceback after it. wandb's own variables hold (`WANDB_MODE=offline` needs no account).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from seatools.streams.errors import SeaError, UsageError
from seatools.streams.extras import require

TRACKERS = ("tensorboard", "wandb", "trackio")


class Tracker:
    """`tracker(line)` logs a metrics line at its "step"; `close` once at the end, also of a failed run."""

    def __init__(self, log: Callable[[dict[str, float], int], None], close: Callable[[], None]) -> None:
        self._log, self._close = log, close

    def __call__(self, line: Mapping[str, Any]) -> None:
        figures = flatten(line)
        step = int(figures.pop("step", 0))
        if figures:
            self._log(figures, step)

    def close(self) -> None:
        """Flush and end the run; further calls do nothing."""
        close, self._close = self._close, lambda: None
        close()


def flatten(line: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The finite numbers of a metrics line by path: {"th": {"loss": 2}} -> {"th/loss": 2.0}.

    An evaluation ({"kind": "eval", ...}) goes below "eval/", so that it never mixes with the losses of training.
    """
    if not prefix and line.get("kind"):
        rest = {key: value for key, value in line.items() if key not in ("kind", "step")}
        return {"step": float(line["step"])} | flatten(rest, f"{line['kind']}/")
    found: dict[str, float] = {}
    for key, value in line.items():
        if isinstance(value, Mapping):
            found |= flatten(value, f"{prefix}{key}/")
        elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            found[f"{prefix}{key}"] = float(value)
    return found


def open_tracker(
    name: str, out: Path, run_name: str | None = None, options: Mapping[str, Any] | None = None
) -> Tracker:
    """The tracker `name`, for the run in folder `out` (whose name it has, without `run_name`).

    `options` are stored as the run's configuration. Raises UsageError for an unknown name, SeaError, naming the extra,
    for a package that is not installed and for a tracker that cannot start.
    """
    if name not in TRACKERS:
        raise UsageError(f"unknown tracker {name!r}", fix=f"one of {', '.join(TRACKERS)}")
    run_name = run_name or out.resolve().name
    settings = dict(options or {})
    if name == "tensorboard":
        require("tensorboard")
        return _tensorboard(out / "tensorboard", settings)
    package = require(name)
    try:
        if name == "wandb":
            run = package.init(project="sea", name=run_name, dir=str(out), config=settings)
            return Tracker(lambda figures, step: run.log(figures, step=step), run.finish)
        package.init(project="sea", name=run_name, config=settings)
        return Tracker(lambda figures, step: package.log(figures, step=step), package.finish)
    except Exception as error:  # each has its own classes: no network, no account, no disk
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        fix = "WANDB_MODE=offline logs to a folder" if name == "wandb" else None
        raise SeaError(f"{name} does not start: {first}", fix=fix) from error


def _tensorboard(folder: Path, settings: Mapping[str, Any]) -> Tracker:
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder))
    if settings:
        lines = "\n".join(f"    {key}: {value}" for key, value in settings.items())
        writer.add_text("options", lines, 0)

    def log(figures: dict[str, float], step: int) -> None:
        for key, value in figures.items():
            writer.add_scalar(key, value, step)

    return Tracker(log, writer.close)
