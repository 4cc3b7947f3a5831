"""Tiny random models of the families that `sea` meets, made in a moment."""

from __future__ import annotations

from typing import Any

import torch

VOCABULARY = 97
SIZES: dict[str, Any] = dict(
    vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
    num_key_value_heads=2, head_dim=8, max_position_embeddings=64, pad_token_id=0, bos_token_id=1, eos_token_id=2,
)  # fmt: skip
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": dict(model_type="llama"),
    "qwen2": dict(model_type="qwen2"),
    "qwen3": dict(model_type="qwen3", head_dim=16),
    "mistral": dict(model_type="mistral", sliding_window=None),
    "mistral-sliding": dict(model_type="mistral", sliding_window=4),
    "gemma2": dict(model_type="gemma2", head_dim=16, sliding_window=4, query_pre_attn_scalar=16),
    "gemma3": dict(
        model_type="gemma3_text", head_dim=16, sliding_window=4, query_pre_attn_scalar=16,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
    ),
    "cohere": dict(model_type="cohere", logit_scale=0.25),
    "granite": dict(model_type="granite", logits_scaling=4.0),
    "olmo2": dict(model_type="olmo2"),  # it norms what its blocks give
    "phi": dict(model_type="phi"),  # its head has a bias
}  # fmt: skip


def tiny(
    family: str = "llama",
    dtype: torch.dtype = torch.float32,
    *,
    attention: str | None = None,
    seed: int = 0,
    **changes: Any,
) -> Any:
    """`tiny("llama", attention="sdpa", tie_word_embeddings=True, ...)`: a fresh model in eval mode.

    Its weights are large (sd 0.2), so that attention and head change their outputs by far more than rounding does.
    """
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    values = {**SIZES, **FAMILIES[family], **changes}
    config = CONFIG_MAPPING[values["model_type"]].from_dict(values)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation=attention)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.2, generator=generator)
            else:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model.to(dtype).eval()
