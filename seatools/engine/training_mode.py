"""A model made ready to be trained: positions enough for the rows, dropout off, and what saves memory or time.

Dropout stays off (eval mode) because continued pretraining does not use it and because a step must be a pure function
of its number for a run to resume exactly.
"""

from __future__ import annotations

from collections.abc import Callable

from transformers import PreTrainedModel

from seatools.engine.compile import compile_blocks as compile_model_blocks
from seatools.engine.fp8 import use_fp8
from seatools.engine.load import max_positions
from seatools.engine.recompute import recompute_blocks
from seatools.streams.errors import UsageError


def check_seq_len(seq_len: int, limit: int | None, option: str = "--seq-len") -> None:
    """Raise UsageError, naming `option`, for rows longer than the model's positions (`limit`; None: any length)."""
    if limit is not None and seq_len > limit:
        what = f"rows of {seq_len} tokens are beyond the model's {limit} positions"
        raise UsageError(what, fix=f"{option} {limit} or less")


def prepare_for_training(
    model: PreTrainedModel,
    *,
    seq_len: int,
    recompute: str = "none",
    compile_blocks: bool = False,
    lengths_vary: bool = False,
    fp8: bool = False,
    option: str = "--seq-len",
    announce: Callable[[], None] | None = None,
) -> None:
    """Check `seq_len` against the model's positions and alter its decoder blocks: once, before FSDP2 shards them.

    `recompute`: "none", "selective" or "full" (engine/recompute.py). `lengths_vary`: rows are not all of one length,
    which compiled blocks must know.
    `announce` is called before the first compilation begins. Raises UsageError, naming `option`, for rows that are too
    long, and SeaError for what the model or its device cannot do.
    """
    check_seq_len(seq_len, max_positions(model.config), option)
    model.eval()
    if fp8:
        use_fp8(model)
    recompute_blocks(model, recompute)
    if compile_blocks:  # last: it compiles the forward that it finds
        compile_model_blocks(model, announce, lengths_vary=lengths_vary)
