"""`--nproc N`: the same command line in N processes on this machine, and a Slurm script for several.

The workers get the variables that torchrun sets (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT), so that the
command runs as well under torchrun itself. It is not used here: its agent turns every exit code of a worker into 1,
where 75 has to reach the scheduler, dies of SIGUSR1 itself, and takes seconds to import. Rank 0 has the terminal; what
another rank wrote to stderr is shown if it was the first to fail. A parent that is killed outright leaves no orphans on
Linux: the kernel sends them SIGTERM, and they save. torch is not imported here.
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import IO, Any

from seatools.engine.world import place_in
from seatools.streams.cores import available_cores
from seatools.streams.errors import Preempted, UsageError

FORWARDED = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
# After one worker has failed, the others get so many seconds to say what they met, then to obey SIGTERM; after one was
# preempted, so many to end their own save.
_FAILED, _TERMINATED, _PREEMPTED = 5.0, 10.0, 300.0
_SHOWN = 4000  # bytes of another rank's stderr


def num_processes(text: str, environ: Mapping[str, str] = os.environ) -> int:
    """`--nproc` as a number: N, or `auto` for the GPUs of this machine (1 where it has none)."""
    if text == "auto":
        visible = environ.get("CUDA_VISIBLE_DEVICES")
        if visible is not None:
            return max(1, len([name for name in visible.split(",") if name.strip() not in ("", "-1")]))
        return max(1, len(list(Path("/proc/driver/nvidia/gpus").glob("*"))))
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise UsageError(f"--nproc {text} is not a number of processes", fix="--nproc N or --nproc auto")
    return int(text)


def must_launch(nproc: int, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether this process is to start `nproc` others: not where a launcher has already given it a rank."""
    place = place_in(environ)
    return nproc > 1 and (place is None or (place.size == 1 and "RANK" not in environ))


def relaunch(argv: Sequence[str], nproc: int, *, environ: Mapping[str, str] = os.environ) -> int:
    """Run `sea ARGV` in `nproc` processes; returns the exit code of the first that failed, else 75 or 0.

    SIGTERM, SIGUSR1 and SIGINT go on to all of them. stdin and stdout are rank 0's.
    """
    threads = {"OMP_NUM_THREADS": str(max(1, available_cores() // nproc))}
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
    place |= {"WORLD_SIZE": str(nproc), "LOCAL_WORLD_SIZE": str(nproc)}
    workers: list[subprocess.Popen[bytes]] = []
    errors: list[IO[bytes] | None] = []
    pending: list[int] = []

    def forward(number: int, frame: FrameType | None) -> None:
        pending.append(number)
        for worker in workers:
            worker.send_signal(number)

    previous = {number: signal.signal(number, forward) for number in FORWARDED}
    try:
        for rank in range(nproc):
            errors.append(None if rank == 0 else tempfile.TemporaryFile())  # noqa: SIM115 (outlives the loop)
            workers.append(
                subprocess.Popen(
                    [sys.executable, "-P", "-m", "seatools", *argv],  # -P: no module of the working folder
                    env={**threads, **environ, **place, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                    stdin=None if rank == 0 else subprocess.DEVNULL,
                    stdout=None if rank == 0 else subprocess.DEVNULL,
                    stderr=errors[rank],
                    process_group=0,  # a Ctrl-C of the terminal comes by way of the parent, once
                    preexec_fn=_end_with_parent if sys.platform == "linux" else None,
                )
            )
            for number in pending:  # came while the others were being started
                workers[rank].send_signal(number)
        order = _wait(workers)
    finally:
        for worker in workers:
            if worker.poll() is None:
                worker.kill()
                worker.wait()
        for number, handler in previous.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
    return _exit_code(workers, order, errors)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _end_with_parent() -> None:
    """In the child before it runs: SIGTERM when the parent dies (prctl's PR_SET_PDEATHSIG)."""
    import ctypes

    ctypes.CDLL(None).prctl(1, int(signal.SIGTERM))


def _wait(workers: Sequence[subprocess.Popen[bytes]]) -> list[int]:
    """Wait for all, ending those that a failure of another leaves waiting; returns ranks in the order of their ends."""
    order: list[int] = []
    patience, terminated = None, False
    while len(order) < len(workers):
        for rank, worker in enumerate(workers):
            if rank in order or worker.poll() is None:
                continue
            order.append(rank)
            if worker.returncode != 0:
                limit = _PREEMPTED if worker.returncode == Preempted.exit_code else _FAILED
                patience = min(patience or float("inf"), time.monotonic() + limit)
        if patience is not None and time.monotonic() > patience:
            for rank, worker in enumerate(workers):
                if rank not in order:
                    worker.kill() if terminated else worker.terminate()
            patience, terminated = time.monotonic() + _TERMINATED, True
        time.sleep(0.05)
    return order


def _exit_code(
    workers: Sequence[subprocess.Popen[bytes]], order: Sequence[int], errors: Sequence[IO[bytes] | None]
) -> int:
    codes = {rank: workers[rank].returncode for rank in order}
    failed = [rank for rank in order if codes[rank] not in (0, Preempted.exit_code)]
    if not failed:
        return Preempted.exit_code if Preempted.exit_code in codes.values() else 0
    # An error that all ranks meet is rank 0's to report, whichever was the first to end.
    first = 0 if codes[0] == codes[failed[0]] and codes[0] > 0 else failed[0]
    stream: Any = errors[first]
    if stream is not None:
        stream.seek(0)
        said = stream.read()[-_SHOWN:].decode("utf-8", "replace").rstrip()
        how = f"code {codes[first]}" if codes[first] >= 0 else signal.Signals(-codes[first]).name
        sys.stderr.write(f"rank {first} ended with {how}" + (f":\n{said}\n" if said else ", without a word\n"))
    for stream in filter(None, errors):
        stream.close()
    return codes[first] if codes[first] >= 0 else 128 - codes[first]


def slurm_script(argv: Sequence[str], nproc: int, nodes: int) -> str:
    """A script for sbatch that runs `sea ARGV` in `nproc` processes on each of `nodes` machines, resumably.

    Two minutes before its time is over the job gets SIGUSR1, saves, and is queued again; --resume goes on from there.
    """
    words, skip = [], False
    for word in argv:  # what the script itself says, or what would begin the run anew each time
        if skip:
            skip = False
        elif word in ("--nproc", "--print-launch", "--nodes"):
            skip = True
        elif not word.startswith(("--nproc=", "--print-launch=", "--nodes=")) and word not in ("--force", "--resume"):
            words.append(word)
    command = shlex.join(["sea", *words, "--resume"])
    return f"""\
#!/bin/bash
#SBATCH --job-name=sea-{argv[0]}
#SBATCH --nodes={nodes}
#SBATCH --ntasks-per-node={nproc}
#SBATCH --gpus-per-node={nproc}
#SBATCH --time=24:00:00
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log

# Exit code 75: stopped by the signal, saved, to be continued. It has to be the highest of all tasks, so that none is
# killed for the end of another; one that waits in vain for a dead one is, after two minutes.
srun --kill-on-bad-exit=0 --wait=120 {command}
code=$?
if [ $code -eq {Preempted.exit_code} ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit $code
"""
