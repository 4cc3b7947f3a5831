"""A run in this process, in the place that a launcher gave it, or in N processes that this one starts and watches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from seatools.engine.launch import must_launch, num_processes, relaunch, slurm_script
from seatools.engine.processes import own_place
from seatools.engine.stop_signals import EndOnSignal
from seatools.engine.world import World
from seatools.streams.errors import UsageError


def run_launched(
    argv: Sequence[str],
    nproc: str | None,
    *,
    device: str,
    out: Path,
    check: Callable[[int], None],
    work: Callable[[World], None],
) -> int:
    """`work` by this process as its World, or `sea ARGV` in `--nproc` processes; returns the exit code.

    `check(n)` refuses, in the parent of n processes, what each of them would refuse.
    """
    count = 1 if nproc is None else num_processes(nproc)
    if must_launch(count):
        check(count)
        return relaunch(argv, count)
    fix = "it has said why; then the same command with --resume"
    with EndOnSignal(), own_place(device, where=str(out), fix=fix) as world:
        work(world)
    return 0


def print_launch(kind: str, argv: Sequence[str], nproc: str | None, nodes: int, *, piped: bool) -> int:
    """Print the batch script of `sea ARGV` on stdout; `piped`: whether its data comes from stdin, which is refused."""
    if kind != "slurm":
        raise UsageError(f"unknown --print-launch {kind!r}", fix="slurm")
    if piped:
        raise UsageError("no pipe reaches a batch job", fix="put the data into a file, and name that")
    sys.stdout.write(slurm_script(argv, num_processes(nproc or "1"), nodes))
    return 0
