"""Where the numeric part runs: numpy, or torch on a CUDA device (`--device cuda`), by one piece of code for both.

The code that computes uses only functions that numpy and torch share by name and arguments (torch takes `axis` and
`keepdims`); arrays go in by `put` and come back by `get`. So the two differ by rounding only, and torch is imported
when a CUDA device is asked for, and never otherwise. Matrix products stay in full fp32 or fp64 on CUDA too (no TF32).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from seatools.streams.errors import UsageError


@dataclass(frozen=True)
class Place:
    """`xp` is numpy or torch; `device` is torch's."""

    xp: Any = np
    device: Any = None

    def put(self, array: np.ndarray) -> Any:
        """`array` as an array of `xp` on the device, in the same dtype."""
        if self.device is None:
            return np.ascontiguousarray(array)
        return self.xp.from_numpy(np.require(array, requirements=["C", "W"])).to(self.device)

    def get(self, array: Any) -> np.ndarray:
        """The inverse of `put`."""
        return array if self.device is None else array.cpu().numpy()


NUMPY = Place()


def open_place(device: str) -> Place:
    """`cpu`: numpy. `cuda`, `cuda:N`: torch there. `auto`: CUDA if there is one, which takes an import of torch to see.

    Errors: `SeaError` for a CUDA device that is not there, `UsageError` for another name.
    """
    if device == "cpu":
        return NUMPY
    if device != "auto" and not device.startswith("cuda"):
        raise UsageError(f"--device {device}: no such device", fix="cpu, cuda, cuda:N or auto")
    import torch

    from seatools.engine.device import pick_device

    found = pick_device(device)
    return NUMPY if found.type == "cpu" else Place(torch, found)
