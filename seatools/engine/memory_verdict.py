"""Whether a planned run fits into this machine, as the lines that --dry-run prints."""

from __future__ import annotations

from seatools.engine.machine import Machine
from seatools.engine.memory import Memory

# Of the memory of a device, what a run may be planned to take: the rest goes to what an allocator cannot use. On a CPU
# with glibc the measured peak is 1.06 to 1.6 times the arithmetic (memory.py); on CUDA this is an assumption.
USABLE = {"cuda": 0.92, "cpu": 0.62}


def weight_width(dtype: str, machine: Machine) -> int:
    """Bytes of a weight under --dtype on this machine."""
    return {"fp32": 4, "bf16": 2}.get(dtype, 2 if machine.is_cuda else 4)


def available_memory(stated: int | None, machine: Machine, ranks: int) -> tuple[int | None, str]:
    """Bytes that a process has (None: not known), and who says so. `stated`: of --memory."""
    if stated is not None:
        return stated, "as stated"
    if machine.memory is None:
        return None, "not known"
    if machine.is_cuda:
        return machine.memory, machine.name
    return machine.memory // ranks, machine.name + (f", one of {ranks} shares" if ranks > 1 else "")


def does_fit(memory: Memory, available: int | None, machine: Machine) -> bool | None:
    """None where the memory is not known."""
    usable = USABLE["cuda" if machine.is_cuda else "cpu"]
    return None if available is None else memory.total <= usable * available


def memory_lines(memory: Memory, available: int | None, said: str, fits: bool | None) -> list[str]:
    """The table of its parts, and the verdict."""
    lines = ["memory of each device:"]
    lines += [f"  {name:<12}{size / 1e9:>9.2f} GB" for name, size in vars(memory).items() if size]
    verdict = {True: "fits", False: "DOES NOT FIT", None: "it is not known whether that fits"}[fits]
    there = "" if available is None else f" into {available / 1e9:.1f} GB ({said})"
    return [*lines, f"  {'together':<12}{memory.total / 1e9:>9.2f} GB: {verdict}{there}"]
