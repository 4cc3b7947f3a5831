"""A model made ready to be trained: positions enough for the rows, dropout off, recomputation if asked for.

Dropout stays off because continued pretraining does not use it and because a step must be a pure function of its
number for a run to resume exactly.
"""

from __future__ import annotations

import torch
from transformers import PreTrainedModel

from seatools.streams.errors import UsageError


def prepare_for_training(model: PreTrainedModel, *, seq_len: int, gradient_checkpointing: bool) -> None:
    """Check `seq_len` against the model's positions and set the mode. Raises UsageError for rows that are too long."""
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if limit is not None and seq_len > limit:
        raise UsageError(f"--seq-len {seq_len} is beyond the model's {limit} positions", fix=f"{limit} or less")
    if not gradient_checkpointing:
        model.eval()
        return
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = 0.0  # type: ignore[assignment]
    model.gradient_checkpointing_enable()
    model.train()  # transformers recomputes only in training mode
