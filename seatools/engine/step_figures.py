"""What the clock and the machine say of a step: seconds, tokens/s, model FLOP/s, utilisation, memory, the time left.

The convention of the FLOPs is named in `flops.py`. They are worked out once, from the first step's mean context and its
share of targets: walking all parameters every step would cost more than the figure is worth. `mfu` is over the dense
bf16 peaks of all processes' chips, null where the peak is not known (CPU). Memory is the peak of the main process:
CUDA's own, or resident on a CPU. None of these figures is a function of the data, so two runs that are equal differ in
them.
"""

from __future__ import annotations

import resource
import sys
from typing import Any

import torch

from seatools.engine.flops import peak_flops, work_per_token
from seatools.engine.optimise import MasterAdamW
from seatools.engine.world import World

CLOCK_FIELDS = frozenset({"seconds", "tokens_per_second", "model_tflops", "mfu", "memory_gb", "data_wait"})
"""Keys of a metrics line that differ between equal runs."""


class StepFigures:
    """`of(row, seconds)` gives the fields for a step's metrics line. `row` holds "tokens" of all ranks, and where they
    are known "context" (`flops.mean_context`) and "targets" (all tokens, if absent)."""

    def __init__(self, model: Any, optimizer: MasterAdamW, world: World) -> None:
        self._model, self._optimizer, self._world = model, optimizer, world
        self._device: torch.device = model.device
        self._flops: float | None = None

    def of(self, row: dict[str, Any], seconds: float) -> dict[str, float | None]:
        """seconds, tokens_per_second, model_tflops (of all ranks together), mfu, memory_gb (10**9 bytes)."""
        if self._flops is None:
            parts = [(entry.name, entry.selection or entry.param) for entry in self._optimizer.entries]
            share = row.get("targets", row["tokens"]) / row["tokens"]
            context = row.get("context", 0)
            self._flops = work_per_token(self._model, parts, context=context, target_share=share).total
        rate = row["tokens"] / max(seconds, 1e-9)
        peak = peak_flops(self._device)
        return {
            "seconds": round(seconds, 4),
            "tokens_per_second": round(rate, 1),
            "model_tflops": float(f"{rate * self._flops / 1e12:.4g}"),
            "mfu": round(rate * self._flops / (peak * self._world.size), 4) if peak else None,
            "memory_gb": round(_peak_memory(self._device) / 1e9, 3),
        }


def _peak_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts KiB


def live_note(line: dict[str, Any]) -> str:
    """The figures of a step beside the bar: loss, bits per byte, learning rate, speed."""
    note = f"loss {line['loss']:.3f}"
    if isinstance(line.get("bits_per_byte"), float):
        note += f", {line['bits_per_byte']:.3f} bits/byte"
    rate = line["tokens_per_second"]
    speed = f"{rate / 1000:.1f}k" if rate >= 10_000 else f"{rate:.0f}"
    return f"{note}, lr {line['lr']:.2e}, {speed} tokens/s"
