"""How the steps of a run are taken: what `train` and `dpo` share, checked at the door.

No torch here, so that a mistyped --schedule is refused before data is read, weights are loaded or an old run is
replaced.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from seatools.engine.schedule import KINDS
from seatools.streams.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class LoopOptions:
    """How the steps are taken; the same for every kind of training."""

    max_steps: int
    lr: float
    schedule: str = "cosine"
    warmup_steps: int = 0
    clip: float = 1.0
    save_every: int = 0
    save_minutes: float = 0.0
    """A checkpoint also when this many minutes have passed since the last; 0: never by the clock."""
    keep: int = 2
    eval_every: int = 0
    """Evaluate every N steps too; 0: before the first and after the last only."""
    async_save: bool | None = None
    """Write checkpoints while the steps go on, from a copy in host memory; None: on CUDA."""

    def __post_init__(self) -> None:
        if self.max_steps < 1:
            raise UsageError("nothing to do: 0 steps", fix="--max-steps N, or more data")
        if not 0 < self.lr < 1:
            raise UsageError(f"--lr {self.lr} is not between 0 and 1")
        if self.schedule not in KINDS:
            raise UsageError(f"unknown --schedule {self.schedule!r}", fix=f"one of {', '.join(KINDS)}")
        if not self.clip > 0:
            raise UsageError(f"--clip {self.clip} is not positive", fix="--clip inf switches clipping off")
        if self.save_every < 0 or self.keep < 1:
            raise UsageError("--save-every must be 0 or more, --keep 1 or more")
        if not 0 <= self.save_minutes < math.inf or self.eval_every < 0:
            raise UsageError("--save-minutes and --eval-every must be 0 or more")


def warmup_steps(warmup: float, total: int) -> int:
    """`--warmup` in steps of a run of `total`: a share of them if below 1, else a number. UsageError for neither."""
    if not 0 <= warmup < math.inf:
        raise UsageError(f"--warmup {warmup} is neither a share nor a number of steps")
    return round(warmup * total) if warmup < 1 else int(warmup)


def check_training_dtype(dtype: str) -> None:
    """Refuse number formats that cannot be trained in: fp16 gradients vanish without loss scaling."""
    if dtype == "fp16":
        raise UsageError("--dtype fp16 is not for training: small gradients vanish in it", fix="--dtype bf16 or fp32")
    if dtype not in ("auto", "fp32", "bf16"):
        raise UsageError(f"unknown dtype {dtype!r}", fix="--dtype auto, fp32 or bf16")
