"""What every training command reads and writes besides its data, and what its options leave open."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from seatools.streams.errors import UsageError
from seatools.streams.messages import Messages


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """The paths and switches of a run that do not change what it computes. Commands inherit it and add their data."""

    model_path: Path
    out: Path
    tokenizer_path: Path
    resume: bool
    force: bool
    limit: int | None
    workers: int
    on_error: str
    quarantine: str | None
    pattern: str | None
    chat_template: Path | None
    eval_data: tuple[str, ...]
    track: tuple[str, ...]
    plot: Path | Literal[False] | None
    """Where the curves are drawn; None: in OUT, where matplotlib is there; False: nowhere."""
    save_patch: Path | None
    messages: Messages
    baseline: Path | None = None
    """The metrics whose first evaluation forgetting is measured by, if not the run's own: a schedule's first stage."""


def eval_arguments(given: list[str] | None) -> tuple[str, ...]:
    """`th=a,en=b` as two arguments; a comma before anything else than NAME= is part of a file's name."""
    return tuple(part for text in given or () for part in re.split(r",\s*(?=[A-Za-z][\w-]*=)", text))


def plot_wanted(file: Path | None, none: bool) -> Path | Literal[False] | None:
    """--plot and --no-plot as `RunRequest.plot`."""
    if none and file is not None:
        raise UsageError("--plot and --no-plot contradict each other")
    return False if none else file
