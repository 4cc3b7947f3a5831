"""A model made ready to be trained: positions enough for the rows, dropout off, recomputation if asked for.

Dropout stays off because continued pretraining does not use it and because a step must be a pure function of its
number for a run to resume exactly.
"""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedModel

from seatools.engine.load import max_positions
from seatools.streams.errors import UsageError


def check_seq_len(seq_len: int, limit: int | None, option: str = "--seq-len") -> None:
    """Raise UsageError, naming `option`, for rows longer than the model's positions (`limit`; None: any length)."""
    if limit is not None and seq_len > limit:
        what = f"rows of {seq_len} tokens are beyond the model's {limit} positions"
        raise UsageError(what, fix=f"{option} {limit} or less")


def prepare_for_training(
    model: PreTrainedModel, *, seq_len: int, gradient_checkpointing: bool, option: str = "--seq-len"
) -> None:
    """Check `seq_len` against the model's positions and set the mode.

    Raises UsageError, naming `option`, for rows that are too long, and for a model that cannot recompute.
    """
    check_seq_len(seq_len, max_positions(model.config), option)
    if not gradient_checkpointing:
        model.eval()
        return
    # transformers 5.2x renamed it; version 6 will drop the old name.
    enable: Any = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    try:
        enable()
    except ValueError as error:
        raise UsageError(str(error), fix="leave --gradient-checkpointing out") from error
    model.train()  # transformers recomputes only in training mode
    for module in model.modules():
        # nn.Dropout's p, and the rates that attention and layers keep for functional dropout and layer drop
        for name, value in list(vars(module).items()):
            if isinstance(value, float) and ("drop" in name or (name == "p" and "Dropout" in type(module).__name__)):
                setattr(module, name, 0.0)
