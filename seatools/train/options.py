"""Everything that decides a training run, in one frozen object that the manifest stores whole."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from seatools.engine.loop_options import LoopOptions, check_training_dtype, warmup_steps
from seatools.streams.errors import UsageError

DEFAULT_SEQ_LEN = 1024
Order = Literal["auto", "file", "shuffled"]


def default_seq_len(model_path: Path) -> int:
    """1024, or all the positions of a model that has fewer (by its config.json; what is wrong there, loading says)."""
    try:
        config = json.loads((model_path / "config.json").read_text(encoding="utf-8"))
        positions = (config.get("text_config") or config).get("max_position_embeddings")
    except (OSError, ValueError, AttributeError):
        return DEFAULT_SEQ_LEN
    return min(DEFAULT_SEQ_LEN, positions) if isinstance(positions, int) and positions > 0 else DEFAULT_SEQ_LEN


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Options of `sea train`."""

    seq_len: int = DEFAULT_SEQ_LEN
    """Tokens in a packed row."""
    batch_size: int = 8
    """Rows in a step."""
    micro_batch: int = 0
    """Rows in one forward pass; 0: all of the step's."""
    epochs: float = 1.0
    """Passes over the data, when `max_steps` is not given."""
    max_steps: int | None = None
    lr: float = 1e-4
    """Peak learning rate (SambaLingo's continued pretraining: 1e-4)."""
    order: Order = "auto"
    """Rows in the order of the data, epoch after epoch ("file"), or all of them shuffled anew in each epoch."""
    schedule: str = "cosine"
    warmup: float = 0.01
    """Steps of linear warm-up: a share of all steps if below 1 (SambaLingo: 0.01), else a number."""
    weight_decay: float = 0.1
    clip: float = 1.0
    save_every: int = 0
    keep: int = 2
    seed: int = 0
    from_config: bool = False
    """Start from fresh weights by the folder's config.json."""
    neurons_path: str | None = None
    neuron_langs: tuple[str, ...] = ()
    gradient_checkpointing: bool = False
    device: str = "auto"
    dtype: str = "auto"

    def __post_init__(self) -> None:
        if self.seq_len < 8:
            raise UsageError(f"--seq-len {self.seq_len} is too short", fix="8 or more")
        if self.batch_size < 1 or self.micro_batch < 0:
            raise UsageError("--batch-size must be 1 or more, --micro-batch 0 or more")
        if not 0 < self.epochs < math.inf or (self.max_steps is not None and self.max_steps < 1):
            raise UsageError("--epochs and --max-steps must be positive")
        if not 0 <= self.weight_decay < math.inf:
            raise UsageError("--weight-decay must be 0 or more")
        self.loop(self.max_steps or 1)
        check_training_dtype(self.dtype)
        if self.neuron_langs and self.neurons_path is None:
            raise UsageError("--neuron-langs needs --neurons FILE")
        if self.neurons_path is not None and self.from_config:
            raise UsageError("--neurons trains an existing model; it cannot go with --from-config")

    def loop(self, total: int) -> LoopOptions:
        """How a run of `total` steps takes them."""
        return LoopOptions(
            max_steps=total, lr=self.lr, schedule=self.schedule, warmup_steps=warmup_steps(self.warmup, total),
            clip=self.clip, save_every=self.save_every, keep=self.keep,
        )  # fmt: skip
