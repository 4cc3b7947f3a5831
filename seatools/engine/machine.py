"""What memory this machine has for a model, asked without torch: nvidia-smi for a GPU, /proc/meminfo for a CPU."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

MEMINFO = Path("/proc/meminfo")


@dataclass(frozen=True)
class Machine:
    """A device: what it is called, and its bytes (None: not known)."""

    name: str
    memory: int | None
    is_cuda: bool


def this_machine(device: str = "auto") -> Machine:
    """The device that `--device` means here. A GPU that does not answer within a second counts as none for auto."""
    if device != "cpu":
        gpu = _first_gpu()
        if gpu is not None:
            return gpu
        if device != "auto":
            return Machine(device, None, True)
    return Machine("memory that is free", _free_memory(), False)


def _first_gpu() -> Machine | None:
    command = shutil.which("nvidia-smi")
    if command is None or os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        return None
    query = [command, "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        out = subprocess.run(query, capture_output=True, text=True, timeout=1, check=True).stdout
        name, mebibytes = out.splitlines()[0].rsplit(",", 1)
        return Machine(name.strip(), int(mebibytes) << 20, True)
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None


def _free_memory() -> int | None:
    """MemAvailable: what new programs can have without swapping."""
    try:
        for line in MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    except (OSError, ValueError, IndexError):
        pass
    return None
