"""The pass in one process, in the place that a launcher gave it, or in N processes that this one starts and watches."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence

from seatools.engine.launch import must_launch, num_processes, relaunch
from seatools.engine.world import SINGLE, World, is_lost, join_world, place_in
from seatools.lsn_detect.options import StatsOptions
from seatools.lsn_detect.run import Request
from seatools.streams.errors import SeaError, UsageError


def in_processes(
    nproc: str | None,
    argv: Sequence[str],
    request: Request,
    options: StatsOptions,
    run: Callable[[Request, World], None],
) -> int:
    """`run` with the world that this process is in, or `sea ARGV` in `nproc` processes; returns the exit code."""
    count = 1 if nproc is None else num_processes(nproc)
    place = place_in(os.environ)
    if "-" in request.inputs and (count > 1 or (place is not None and place.size > 1)):
        raise UsageError("stdin cannot be read by several processes", fix="put the text into a file, and name that")
    if must_launch(count):
        return relaunch(argv, count)
    world = SINGLE if place is None or place.size == 1 else join_world(options.device)
    if not world.is_main:
        request = dataclasses.replace(request, messages=dataclasses.replace(request.messages, silent=True))
    try:
        run(request, world)
    except RuntimeError as error:
        if not is_lost(error):
            raise
        raise SeaError("another process of this run has ended", fix="it has said why; start again") from error
    finally:
        world.leave()
    return 0
