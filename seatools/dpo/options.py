"""Everything that decides a DPO run, in one frozen object that the manifest stores whole."""

from __future__ import annotations

import math
from dataclasses import dataclass

from seatools.engine.loop_options import LoopOptions, check_training_dtype, warmup_steps
from seatools.streams.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class DPOOptions:
    """Options of `sea dpo`. The defaults are SambaLingo's model-card values where it gives one."""

    beta: float = 0.1
    """Strength of the tie to the reference model (SambaLingo: 0.1)."""
    max_length: int = 1024
    """Tokens of prompt and answer together; longer pairs are rejects."""
    batch_size: int = 32
    """Pairs in a step (SambaLingo: 32)."""
    micro_batch: int = 0
    """Pairs in one forward pass; 0: all of the step's."""
    epochs: float = 3.0
    """Passes over the pairs, when `max_steps` is not given (SambaLingo: 3)."""
    max_steps: int | None = None
    lr: float = 5e-7
    """Peak learning rate (SambaLingo: 5e-7)."""
    schedule: str = "linear"
    warmup: float = 0.1
    """Steps of linear warm-up: a share of all steps if below 1 (SambaLingo: 0.1), else a number."""
    weight_decay: float = 0.0
    clip: float = 1.0
    save_every: int = 0
    keep: int = 2
    seed: int = 0
    device: str = "auto"
    dtype: str = "auto"

    def __post_init__(self) -> None:
        if not 0 < self.beta < math.inf:
            raise UsageError(f"--beta {self.beta} is not positive")
        if self.max_length < 8:
            raise UsageError(f"--max-length {self.max_length} is too short", fix="8 or more")
        if self.batch_size < 1 or self.micro_batch < 0:
            raise UsageError("--batch-size must be 1 or more, --micro-batch 0 or more")
        if not 0 < self.epochs < math.inf or (self.max_steps is not None and self.max_steps < 1):
            raise UsageError("--epochs and --max-steps must be positive")
        if not 0 <= self.weight_decay < math.inf:
            raise UsageError("--weight-decay must be 0 or more")
        self.loop(self.max_steps or 1)
        check_training_dtype(self.dtype)

    def loop(self, total: int) -> LoopOptions:
        """How a run of `total` steps takes them."""
        return LoopOptions(
            max_steps=total, lr=self.lr, schedule=self.schedule, warmup_steps=warmup_steps(self.warmup, total),
            clip=self.clip, save_every=self.save_every, keep=self.keep,
        )  # fmt: skip
