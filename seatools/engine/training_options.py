"""The options that every kind of training has: what is trained, by which optimiser, on how many processes.

`train` and `dpo` add their own in dataclasses that inherit these, with other defaults where their task has others. No
torch here, so that a mistyped value is refused before anything is read.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seatools.engine.loop_options import LoopOptions, check_training_dtype, warmup_steps
from seatools.streams.errors import UsageError

CHECKPOINTING = ("none", "selective", "full")
OPTIMIZERS = ("adamw", "muon")
STATES = ("fp32", "bf16")
PARALLEL = ("auto", "fsdp", "ddp")
ON_FORGETTING = ("warn", "stop")


def positions_in(model_path: Path) -> int | None:
    """The positions of a model by its config.json; None where that does not say (what is wrong there, loading does)."""
    try:
        config = json.loads((model_path / "config.json").read_text(encoding="utf-8"))
        positions = (config.get("text_config") or config).get("max_position_embeddings")
    except (OSError, ValueError, AttributeError):
        return None
    return positions if isinstance(positions, int) and positions > 0 else None


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """What `TrainOptions` and `DPOOptions` share. A row is a packed row of training data, or a pair of answers."""

    train: str = "all"
    """What is trained, in the spelling of `train_spec`: all, new-rows, embeddings, neurons=FILE, layers=0-3."""
    neuron_langs: tuple[str, ...] = ()
    first_new_row: int | None = None
    """Rows from here on are new, where MODEL has no new_rows.jsonl."""
    batch_size: int = 8
    """Rows in a step, over all processes."""
    micro_batch: int = 0
    """Rows in one forward pass of a process; 0: the command decides."""
    epochs: float = 1.0
    """Passes over the data, when `max_steps` is not given."""
    max_steps: int | None = None
    lr: float = 1e-4
    """Peak learning rate (SambaLingo's continued pretraining: 1e-4)."""
    embedding_lr: float | None = None
    """Peak learning rate of embedding and head; None: `lr`."""
    schedule: str = "cosine"
    warmup: float = 0.01
    """Steps of linear warm-up: a share of all steps if below 1 (SambaLingo: 0.01), else a number."""
    optimizer: str = "adamw"
    """adamw, or muon for the matrices inside the decoder layers and AdamW for all else."""
    optimizer_states: str = "fp32"
    """Format of Adam's two moments."""
    masters: bool = True
    """fp32 masters of low-precision weights."""
    weight_decay: float = 0.1
    clip: float = 1.0
    attention: str = "auto"
    activation_checkpointing: str = "none"
    compile: bool = False
    fp8: bool = False
    parallel: str = "auto"
    """How processes share the work: fsdp shards weights and states, ddp copies them; auto: ddp for selections."""
    save_every: int = 0
    save_minutes: float = 0.0
    keep: int = 2
    async_save: bool | None = None
    """Write checkpoints in the background; None: on CUDA."""
    eval_every: int = 0
    """Steps between evaluations; 0: only before the first step and after the last."""
    source_lang: str | None = None
    """The language of the eval data that must not be forgotten."""
    forget_limit: float = 0.05
    """Relative rise of its bits per byte that is too much."""
    on_forgetting: str = "warn"
    seed: int = 0
    device: str = "auto"
    dtype: str = "auto"

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.micro_batch < 0:
            raise UsageError("--batch-size must be 1 or more, --micro-batch 0 or more")
        if not 0 < self.epochs < math.inf or (self.max_steps is not None and self.max_steps < 1):
            raise UsageError("--epochs and --max-steps must be positive")
        if not 0 <= self.weight_decay < math.inf:
            raise UsageError("--weight-decay must be 0 or more")
        if self.embedding_lr is not None and not 0 < self.embedding_lr < 1:
            raise UsageError(f"--embedding-lr {self.embedding_lr} is not between 0 and 1")
        if not 0 < self.forget_limit < math.inf:
            raise UsageError(f"--forget-limit {self.forget_limit} is not a positive share", fix="0.05 is 5 %")
        for option, value, known in (
            ("--activation-checkpointing", self.activation_checkpointing, CHECKPOINTING),
            ("--optimizer", self.optimizer, OPTIMIZERS),
            ("--optimizer-states", self.optimizer_states, STATES),
            ("--parallel", self.parallel, PARALLEL),
            ("--on-forgetting", self.on_forgetting, ON_FORGETTING),
        ):
            if value not in known:
                raise UsageError(f"unknown {option} {value!r}", fix=f"one of {', '.join(known)}")
        self.loop(self.max_steps or 1)
        check_training_dtype(self.dtype)
        if self.neuron_langs and "neurons" not in self.train:
            raise UsageError("--neuron-langs needs --train neurons=FILE (or --neurons FILE)")

    def loop(self, total: int) -> LoopOptions:
        """How a run of `total` steps takes them."""
        return LoopOptions(
            max_steps=total, lr=self.lr, schedule=self.schedule, warmup_steps=warmup_steps(self.warmup, total),
            clip=self.clip, save_every=self.save_every, keep=self.keep, eval_every=self.eval_every,
            save_minutes=self.save_minutes, async_save=self.async_save,
        )  # fmt: skip

    def identity(self) -> dict[str, Any]:
        """What must be the same for a run to be continued, by option, as JSON: all that changes what it computes."""
        names = (
            "train", "neuron_langs", "first_new_row", "seed", "batch_size", "lr", "embedding_lr", "schedule",
            "warmup", "optimizer", "optimizer_states", "masters", "weight_decay", "fp8",
        )  # fmt: skip
        found = {name: getattr(self, name) for name in names}
        return found | {"neuron_langs": list(self.neuron_langs), "clip": str(self.clip)}


def what_is_trained(what: str, neurons: Path | None) -> str:
    """--train and --neurons FILE, which is short for --train neurons=FILE, as one. UsageError where they disagree."""
    if neurons is None:
        return what
    if what not in ("all", f"neurons={neurons}"):
        raise UsageError(
            f"--neurons FILE and --train {what} contradict each other", fix=f"--train {what}+neurons={neurons}"
        )
    return f"neurons={neurons}"


def listed(text: str | None) -> tuple[str, ...]:
    """`th, lo` as its parts."""
    return tuple(filter(None, (part.strip() for part in (text or "").split(","))))
