"""Where the model runs, and in which number format.

`auto` takes CUDA where there is one, and there bf16: the format that Hopper and Ampere multiply fastest and that needs
no loss scaling. On a CPU `auto` is fp32, because bf16 matrix products are slow on most CPUs. What was asked for by
name is never swapped for something else: no CUDA where CUDA was asked for is an error.
"""

from __future__ import annotations

import re

import torch

from seatools.streams.errors import SeaError, UsageError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def pick_device(name: str = "auto") -> torch.device:
    """The device called `auto`, `cpu`, `cuda` or `cuda:N`.

    Raises UsageError for any other name, SeaError for a CUDA device that this machine or this torch does not have.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cpu":
        return torch.device("cpu")
    match = re.fullmatch(r"cuda(?::(\d+))?", name)
    if match is None:
        raise UsageError(f"unknown device {name!r}", fix="use auto, cpu, cuda or cuda:N")
    if not torch.cuda.is_available():
        reason = "no CUDA device is visible" if torch.version.cuda else f"torch {torch.__version__} has no CUDA in it"
        raise SeaError(f"--device {name}: {reason}", fix="use --device cpu, or install torch for CUDA")
    index = int(match[1] or 0)
    if index >= torch.cuda.device_count():
        raise SeaError(f"--device {name}: this machine has {torch.cuda.device_count()} CUDA device(s), counted from 0")
    return torch.device("cuda", index)


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """The dtype called `auto`, `fp32`, `bf16` or `fp16`. Raises UsageError for any other name."""
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float32
    if name not in DTYPES:
        raise UsageError(f"unknown dtype {name!r}", fix="use auto, fp32, bf16 or fp16")
    return DTYPES[name]
