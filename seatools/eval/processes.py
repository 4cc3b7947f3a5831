"""An evaluation in one process, in the place that a launcher gave it, or in N processes that this one starts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from seatools.engine.launch import must_launch, num_processes, relaunch
from seatools.engine.world import SINGLE, is_lost, join_world, place_in
from seatools.eval.evaluation import Evaluation
from seatools.eval.run import evaluate
from seatools.streams.errors import SeaError, UsageError


def in_processes(nproc: str | None, argv: Sequence[str], evaluation: Evaluation) -> int:
    """`evaluate` with the world that this process is in, or `sea ARGV` in `nproc` processes; returns the exit code."""
    count = 1 if nproc is None else num_processes(nproc)
    place = place_in(os.environ)
    if count > 1 or (place is not None and place.size > 1):
        if "-" in evaluation.inputs:
            raise UsageError("stdin cannot be read by several processes", fix="put the data into a file, and name that")
        if evaluation.samples_path is None:
            raise UsageError("several processes need a file for their samples", fix="--samples FILE or -o FILE")
    if must_launch(count):
        return relaunch(argv, count)
    world = SINGLE if place is None or place.size == 1 else join_world(evaluation.device)
    if not world.is_main:
        evaluation = replace(evaluation, messages=replace(evaluation.messages, silent=True))
    try:
        evaluate(evaluation, world)
    except RuntimeError as error:
        if not is_lost(error):
            raise
        raise SeaError("another process of this run has ended", fix="it has said why; start again") from error
    finally:
        world.leave()
    return 0
