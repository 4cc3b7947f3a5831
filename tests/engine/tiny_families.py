"""Tiny random models of the six families that every engine test of models runs on."""

from __future__ import annotations

from typing import Any

import torch
import transformers as hf

FAMILIES = ("llama", "qwen2", "qwen3", "mistral", "gemma2", "gemma3")
VOCABULARY = 97

_CLASSES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "llama": (hf.LlamaConfig, hf.LlamaForCausalLM, {}),
    "qwen2": (hf.Qwen2Config, hf.Qwen2ForCausalLM, {}),
    "qwen3": (hf.Qwen3Config, hf.Qwen3ForCausalLM, {"head_dim": 16}),
    "mistral": (hf.MistralConfig, hf.MistralForCausalLM, {"sliding_window": 6}),
    "gemma2": (hf.Gemma2Config, hf.Gemma2ForCausalLM, {"head_dim": 16, "sliding_window": 6}),
    "gemma3": (hf.Gemma3TextConfig, hf.Gemma3ForCausalLM, {"head_dim": 16, "sliding_window": 6}),
}


def tiny(family: str, dtype: torch.dtype = torch.float32) -> Any:
    """Two layers, 4 query heads on 2 key heads, weights and biases large enough that every part shows in the logits."""
    config_class, model_class, extra = _CLASSES[family]
    if family.startswith("gemma"):
        extra = extra | {"layer_types": ["sliding_attention", "full_attention"], "query_pre_attn_scalar": 16}
    config = config_class(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        **extra,
    )
    torch.manual_seed(0)
    model = model_class(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return model.to(dtype).eval()
