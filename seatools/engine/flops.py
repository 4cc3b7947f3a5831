"""Model FLOPs per trained token, for tokens/s to be read as utilisation (MFU).

Convention (stated wherever the number is printed): 6 x matrix weights that a token passes (head included,
embedding lookup not) + 6 x layers x query width x mean causal context, no recomputation counted (PaLM, appendix B,
with causal attention counted once).
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedModel

# Dense bf16 peaks in FLOP/s from the vendors' data sheets.
_PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "B200": 2250e12}


def peak_flops(device: torch.device) -> float | None:
    """The chip's dense bf16 peak, or None where it is not known (CPU)."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak for key, peak in _PEAKS.items() if key in name), None)


def flops_per_token(model: PreTrainedModel, context: int = 0) -> float:
    """Forward and backward of full training, for one token with `context` tokens in its document on average."""
    config: Any = model.config.get_text_config()
    weights: float = sum(parameter.numel() for parameter in model.parameters() if parameter.ndim >= 2)
    embedding: Any = model.get_input_embeddings().weight
    if not config.tie_word_embeddings:
        weights -= embedding.numel()
    width = config.num_attention_heads * getattr(config, "head_dim", config.hidden_size // config.num_attention_heads)
    return 6.0 * weights + 6.0 * config.num_hidden_layers * width * context
