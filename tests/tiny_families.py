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
# Of other layouts: fused, transposed and ungated projections, experts.
LAYOUTS: dict[str, dict[str, Any]] = {
    "phi3": dict(model_type="phi3"),  # gate and up in one weight; q, k and v too
    "glm": dict(model_type="glm"),
    "glm4": dict(model_type="glm4"),  # norms what its blocks give
    "gpt2": dict(model_type="gpt2", n_inner=48, head_dim=None),  # Conv1D
    "gpt2-scaled": dict(model_type="gpt2", n_inner=48, head_dim=None, scale_attn_by_inverse_layer_idx=True),
    "opt": dict(model_type="opt", ffn_dim=48, word_embed_proj_dim=32),  # its FFN stands in the layer itself
    "gpt_neox": dict(model_type="gpt_neox"),  # q, k and v in one weight, head by head
    "bloom": dict(model_type="bloom"),
    "falcon": dict(model_type="falcon", ffn_hidden_size=48, bias=True, head_dim=None),  # one key head
    "falcon-old": dict(model_type="falcon", ffn_hidden_size=48, multi_query=False, alibi=True, head_dim=None),
    "falcon-new": dict(
        model_type="falcon", ffn_hidden_size=48, new_decoder_architecture=True, num_kv_heads=2, head_dim=None
    ),
    "starcoder2": dict(model_type="starcoder2"),
    "gptj": dict(model_type="gptj", n_inner=48, rotary_dim=4),
    "nemotron": dict(model_type="nemotron"),
    "mixtral": dict(model_type="mixtral", num_local_experts=4),
    "qwen2_moe": dict(
        model_type="qwen2_moe", num_experts=4, num_experts_per_tok=2, moe_intermediate_size=24,
        shared_expert_intermediate_size=40, mlp_only_layers=[0],
    ),
    "qwen3_moe": dict(model_type="qwen3_moe", num_experts=4, num_experts_per_tok=2, moe_intermediate_size=24),
    "olmoe": dict(model_type="olmoe", num_experts=4, num_experts_per_tok=2),
    "smollm3": dict(model_type="smollm3"),
    "stablelm": dict(model_type="stablelm"),
    "cohere2": dict(model_type="cohere2", sliding_window=4),
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

    values = {**SIZES, **(FAMILIES | LAYOUTS)[family], **changes}
    if values["head_dim"] is None:  # families that compute it, and refuse to be told
        del values["head_dim"]
    config = CONFIG_MAPPING[values["model_type"]].from_dict(values)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation=attention)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.2, generator=generator)
            else:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    if dtype == torch.float64 and hasattr(config, "_experts_implementation"):
        config._experts_implementation = "eager"  # grouped_mm has no float64
    return model.to(dtype).eval()
