"""The processes that train together: which one this is, and the little they say to each other.

The rank comes from the environment, so that any launcher works: RANK, WORLD_SIZE and LOCAL_RANK as torchrun, Kubeflow
and `sea --nproc` set them, else Slurm's step (SLURM_PROCID, SLURM_STEP_NUM_TASKS, SLURM_LOCALID; the meeting place is
the first node of the step and a port made from the job's number, as JAX does it). A batch script of Slurm without srun
is no step, so it is one process. CPU tensors travel by gloo and CUDA tensors by nccl, so that small agreements (stop?
save?) never wait for the GPU. torch is imported only where it is used: the parent of a launch asks here too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from seatools.streams.errors import SeaError, UsageError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

T = TypeVar("T")
# How long a process waits for the others: the main one may be packing data meanwhile.
PATIENCE = timedelta(hours=6)


@dataclass(frozen=True)
class World:
    """Process `rank` of `size`; `local_rank` counts on its machine. `device` is where its tensors live."""

    rank: int
    size: int
    local_rank: int
    device: torch.device | None

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum of `tensor` over the ranks, equal to the bit on all of them, in place; itself where there is one."""
        if self.size > 1:
            import torch.distributed as dist

            dist.all_reduce(tensor)
        return tensor

    def least(self, tensor: Tensor) -> Tensor:
        """The least of `tensor` over the ranks, element by element, in place."""
        if self.size > 1:
            import torch.distributed as dist

            dist.all_reduce(tensor, op=dist.ReduceOp.MIN)
        return tensor

    def most(self, tensor: Tensor) -> Tensor:
        """The greatest of `tensor` over the ranks, element by element, in place."""
        if self.size > 1:
            import torch.distributed as dist

            dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
        return tensor

    def agree(self, *flags: bool, group: Any = None) -> tuple[bool, ...]:
        """For each flag whether it is up on any rank; one message for all of them."""
        if self.size == 1:
            return flags
        import torch
        import torch.distributed as dist

        raised = torch.tensor(flags, dtype=torch.int32)  # on the CPU: gloo, no wait for the GPU
        dist.all_reduce(raised, op=dist.ReduceOp.MAX, group=group)
        return tuple(bool(flag) for flag in raised.tolist())

    def first(self, value: T | None) -> T | None:
        """The value of the lowest rank that has one; for a few words, of an error or a digest. Pickled by torch."""
        if self.size == 1:
            return value
        import torch.distributed as dist

        found: list[T | None] = [None] * self.size
        dist.all_gather_object(found, value)
        return next((value for value in found if value is not None), None)

    def any(self, flag: bool) -> bool:
        """Whether `flag` is true on any rank."""
        return self.agree(flag)[0]

    def barrier(self) -> None:
        """Wait until every rank is here."""
        self.agree(False)

    def new_group(self) -> Any:
        """A gloo group of all ranks of its own, for a thread that must not mix with the steps; None for one rank."""
        if self.size == 1:
            return None
        import torch.distributed as dist

        return dist.new_group(backend="gloo", timeout=PATIENCE)

    def leave(self) -> None:
        """Take leave of the others, at the end of the process."""
        if self.size > 1:
            import torch.distributed as dist

            if dist.is_initialized():
                dist.destroy_process_group()


SINGLE = World(0, 1, 0, None)


@dataclass(frozen=True)
class Place:
    """What a launcher has put into the environment: who we are and where rank 0 is met."""

    rank: int
    size: int
    local_rank: int
    address: str
    port: int


def place_in(environ: Mapping[str, str]) -> Place | None:
    """The place that a launcher gave this process, or None. Raises UsageError for variables that are half set."""
    if "RANK" in environ or "WORLD_SIZE" in environ:
        rank, size = _number(environ, "RANK"), _number(environ, "WORLD_SIZE")
        local_rank = _number(environ, "LOCAL_RANK") if size > 1 else 0
        address = _text(environ, "MASTER_ADDR") if size > 1 else "localhost"
        port = _number(environ, "MASTER_PORT") if size > 1 else 0
    elif "SLURM_PROCID" in environ and "SLURM_STEP_NUM_TASKS" in environ:
        rank, size = _number(environ, "SLURM_PROCID"), _number(environ, "SLURM_STEP_NUM_TASKS")
        local_rank = _number(environ, "SLURM_LOCALID") if size > 1 else 0
        address, port = environ.get("MASTER_ADDR") or "localhost", 0
        if size > 1 and "MASTER_ADDR" not in environ:
            address = first_host(_text(environ, "SLURM_STEP_NODELIST"))
        if size > 1:  # above the ephemeral ports, and another for each job of a node
            own = "MASTER_PORT" in environ
            port = _number(environ, "MASTER_PORT") if own else 61440 + _number(environ, "SLURM_JOB_ID") % 4096
    else:
        return None
    if not 0 <= rank < size:
        raise UsageError(f"rank {rank} of {size} processes in the environment", fix="ranks count from 0")
    return Place(rank, size, local_rank, address, port)


def join_world(device: str = "auto", environ: Mapping[str, str] = os.environ) -> World:
    """Take the place that the environment gives, and wait for the others; alone where it gives none.

    `device`: auto, cpu, cuda (each process takes the one of its local rank) or, alone, cuda:N.
    Raises UsageError for variables that are half set or cuda:N among several, SeaError where the others never come.
    """
    from seatools.engine.device import pick_device

    place = place_in(environ)
    if place is None or place.size == 1:
        return replace(SINGLE, device=pick_device(device))
    if ":" in device:
        raise UsageError(f"--device {device} with {place.size} processes", fix="--device cuda: each takes its own")
    import torch
    import torch.distributed as dist

    chosen = pick_device(device)
    if chosen.type == "cuda":
        # Schedulers that bind one GPU to each task show it as the only one.
        chosen = pick_device(f"cuda:{place.local_rank if torch.cuda.device_count() > 1 else 0}")
        torch.cuda.set_device(chosen)
    try:
        store = dist.TCPStore(  # the launcher's agent holds it already under torchrun
            place.address, place.port, place.size, timeout=PATIENCE,
            is_master=place.rank == 0 and environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True",
        )  # fmt: skip
        if environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":  # which is used again after a restart
            attempt = environ.get("TORCHELASTIC_RESTART_COUNT", "0")
            store = dist.PrefixStore(f"sea-{attempt}", store)  # type: ignore[assignment]
        backend = "cpu:gloo,cuda:nccl" if chosen.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=store, rank=place.rank, world_size=place.size, timeout=PATIENCE)
    except (RuntimeError, OSError) as error:
        raise SeaError(
            f"rank {place.rank} of {place.size} cannot join the others: {str(error).splitlines()[0]}",
            where=f"{place.address}:{place.port}",
            fix="is rank 0 running there, and the port free and open between the machines?",
        ) from error
    return World(place.rank, place.size, place.local_rank, chosen)


def is_lost(error: RuntimeError) -> bool:
    """Whether torch's error means that another process is not there any more; gloo's has no class of its own."""
    return type(error).__name__ in ("DistBackendError", "DistNetworkError") or "gloo/transport" in str(error)


def first_host(nodes: str) -> str:
    """The first host of Slurm's compressed list: `gpu[007-010,12],login` -> `gpu007`."""
    name, bracket, rest = nodes.partition("[")
    if "," in name or not bracket:
        return name.split(",")[0]
    number = rest.split("]")[0].split(",")[0].split("-")[0]
    return name + number + rest.partition("]")[2].split(",")[0]


def _text(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name)
    if not value:
        known = ", ".join(key for key in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "SLURM_PROCID") if key in environ)
        raise UsageError(
            f"{name} is not set in the environment, though {known or 'a rank'} is",
            fix="start with --nproc, torchrun or srun; for one process alone unset RANK and WORLD_SIZE",
        )
    return value


def _number(environ: Mapping[str, str], name: str) -> int:
    text = _text(environ, name)
    if not text.isascii() or not text.isdigit():
        raise UsageError(f"{name}={text!r} in the environment is not a number")
    return int(text)
