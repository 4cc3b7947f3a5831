"""Everything that decides a DPO run, in one frozen object that the manifest stores whole."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seatools.dpo.losses import check_loss
from seatools.engine.training_options import TrainingOptions, positions_in
from seatools.streams.errors import UsageError

DEFAULT_MAX_LENGTH = 1024


def default_max_length(model_path: Path) -> int:
    """1024, or all the positions of a model that has fewer."""
    return min(DEFAULT_MAX_LENGTH, positions_in(model_path) or DEFAULT_MAX_LENGTH)


@dataclass(frozen=True, kw_only=True)
class DPOOptions(TrainingOptions):
    """Options of `sea dpo`. The defaults are SambaLingo's model-card values where it gives one."""

    loss: str = "sigmoid"
    beta: float = 0.1
    """Strength of the tie to the reference model (SambaLingo: 0.1)."""
    label_smoothing: float = 0.0
    """Share of the pairs that are taken to be labelled the wrong way round."""
    sft_weight: float = 0.0
    """Weight of the SFT term: the mean NLL of the tokens of the chosen answers."""
    share_prompt: bool | None = None
    """Compute a prompt once for both answers; None: where the model's attention can."""
    max_length: int = DEFAULT_MAX_LENGTH
    """Tokens of prompt and answer together; longer pairs are rejects."""
    batch_size: int = 32
    """Pairs in a step (SambaLingo: 32)."""
    epochs: float = 3.0
    """Passes over the pairs, when `max_steps` is not given (SambaLingo: 3)."""
    lr: float = 5e-7
    """Peak learning rate (SambaLingo: 5e-7)."""
    schedule: str = "linear"
    warmup: float = 0.1
    """Steps of linear warm-up: a share of all steps if below 1 (SambaLingo: 0.1), else a number."""
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        check_loss(self.loss, beta=self.beta, label_smoothing=self.label_smoothing, sft_weight=self.sft_weight)
        if self.max_length < 8:
            raise UsageError(f"--max-length {self.max_length} is too short", fix="8 or more")
        super().__post_init__()

    def identity(self) -> dict[str, Any]:
        """What must be the same for a run to be continued, by option, as JSON: all that changes what it computes."""
        names = ("loss", "beta", "label_smoothing", "sft_weight")
        return super().identity() | {name: getattr(self, name) for name in names}
