"""A run in one process, in the place that a launcher gave it, or in N processes that this one starts and watches."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from seatools.engine.launch import must_launch, num_processes, relaunch
from seatools.engine.world import SINGLE, World, is_lost, join_world, place_in
from seatools.streams.errors import SeaError, UsageError


def in_processes(
    nproc: str | None, argv: Sequence[str], run: Callable[[World], None], *, inputs: Sequence[str], device: str
) -> int:
    """`run` with the world that this process is in, or `sea ARGV` in `nproc` processes; returns the exit code.

    UsageError for stdin among `inputs` of several; SeaError where another process has ended.
    """
    if is_several(nproc) and "-" in inputs:
        raise UsageError("stdin cannot be read by several processes", fix="put the data into a file, and name that")
    if nproc is not None and must_launch(num_processes(nproc)):
        return relaunch(argv, num_processes(nproc))
    with own_place(device) as world:
        run(world)
    return 0


@contextmanager
def own_place(device: str, *, where: str | None = None, fix: str = "it has said why; start again") -> Iterator[World]:
    """The world that a launcher put this process in, or that of one; left at the end.

    SeaError (`where`, `fix`) where another process has ended.
    """
    place = place_in(os.environ)
    world = SINGLE if place is None or place.size == 1 else join_world(device)
    try:
        yield world
    except RuntimeError as error:
        if not is_lost(error):
            raise
        raise SeaError("another process of this run has ended", where=where, fix=fix) from error
    finally:
        world.leave()


def is_several(nproc: str | None) -> bool:
    """Whether several processes do this run: asked for, or started by a launcher."""
    place = place_in(os.environ)
    return (nproc is not None and num_processes(nproc) > 1) or (place is not None and place.size > 1)
