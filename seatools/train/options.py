"""Everything that decides a training run, in one frozen object that the manifest stores whole."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from seatools.engine.training_options import TrainingOptions, positions_in
from seatools.streams.errors import UsageError

DEFAULT_SEQ_LEN = 1024
PASS_TOKENS_CPU = 512
Order = Literal["auto", "file", "shuffled"]


def default_seq_len(model_path: Path) -> int:
    """1024, or all the positions of a model that has fewer."""
    return min(DEFAULT_SEQ_LEN, positions_in(model_path) or DEFAULT_SEQ_LEN)


def rows_of_pass(micro_batch: int, batch_size: int, *, ranks: int, seq_len: int, on_cpu: bool) -> int:
    """Rows in one forward pass of a process: as asked for, else all of its own, on a CPU about 512 tokens.

    There more rows at once only take memory: 2 x 1,024 tokens of a 42 M Llama 2.08 GB, row by row 1.92, as fast.
    """
    own = -(-batch_size // ranks)
    return min(own, micro_batch or (max(1, PASS_TOKENS_CPU // seq_len) if on_cpu else own))


@dataclass(frozen=True, kw_only=True)
class TrainOptions(TrainingOptions):
    """Options of `sea train`: those of all training, and of packed rows."""

    seq_len: int = DEFAULT_SEQ_LEN
    """Tokens in a packed row."""
    order: Order = "auto"
    """Rows in the order of the data, epoch after epoch ("file"), or all of them shuffled anew in each epoch."""
    from_config: bool = False
    """Start from fresh weights by the folder's config.json."""

    def __post_init__(self) -> None:
        if self.seq_len < 8:
            raise UsageError(f"--seq-len {self.seq_len} is too short", fix="8 or more")
        super().__post_init__()
        if self.train != "all" and self.from_config:
            raise UsageError("a fresh model is trained whole", fix="leave out --from-config, or --train and --neurons")

    def identity(self) -> dict[str, Any]:
        """What must be the same for a run to be continued, by option, as JSON: all that changes what it computes."""
        return super().identity() | {"order": self.order, "from_config": self.from_config}
