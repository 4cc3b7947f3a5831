"""Everything that decides a training run, in one frozen object that the manifest stores whole."""

from __future__ import annotations

from dataclasses import dataclass

from seatools.streams.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Options of `sea train`."""

    seq_len: int = 1024
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
        if self.epochs <= 0 or (self.max_steps is not None and self.max_steps < 1):
            raise UsageError("--epochs and --max-steps must be positive")
        if self.warmup < 0:
            raise UsageError("--warmup must be 0 or more")
        if self.weight_decay < 0:
            raise UsageError("--weight-decay must be 0 or more")
        if self.neuron_langs and self.neurons_path is None:
            raise UsageError("--neuron-langs needs --neurons FILE")
        if self.neurons_path is not None and self.from_config:
            raise UsageError("--neurons trains an existing model; it cannot go with --from-config")

    def warmup_steps(self, total: int) -> int:
        """The warm-up in steps of a run of `total` steps."""
        return round(self.warmup * total) if self.warmup < 1 else int(self.warmup)
