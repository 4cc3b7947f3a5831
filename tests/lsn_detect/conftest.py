"""Tiny float64 models of four families, and batches of made-up documents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from seatools.lsn_detect.corpora import PackedBatch, packed_batches

torch.set_num_threads(1)  # tiny matrices gain nothing from threads

FAMILIES: dict[str, dict[str, Any]] = {
    "llama": dict(model_type="llama", attention_bias=True, mlp_bias=True),
    "qwen2": dict(model_type="qwen2"),
    "mistral": dict(model_type="mistral", sliding_window=None),
    "qwen3": dict(model_type="qwen3"),
    "olmo2": dict(model_type="olmo2"),
    "gemma2": dict(model_type="gemma2", query_pre_attn_scalar=8, attn_logit_softcapping=50.0),
    "gemma3": dict(model_type="gemma3_text", query_pre_attn_scalar=8, sliding_window=64),
    "cohere": dict(model_type="cohere"),
    "phi": dict(model_type="phi"),
}


@pytest.fixture(scope="session")
def tiny() -> Callable[..., Any]:
    """`tiny("llama", hidden_act=...)`: two layers, 4 query heads on 2 key heads of 8, large weights and biases."""
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    def build(family: str = "llama", dtype: torch.dtype = torch.float64, **changes: Any) -> Any:
        values = dict(
            vocab_size=97, hidden_size=24, intermediate_size=20, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, head_dim=8, max_position_embeddings=64, pad_token_id=0, bos_token_id=1,
            eos_token_id=2,
        )  # fmt: skip
        values = {**values, **FAMILIES[family], **changes}
        if family == "olmo2":  # it has no head_dim of its own
            values |= {"hidden_size": 32}
        config = CONFIG_MAPPING[values["model_type"]].from_dict(values)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager")
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
        return model.to(dtype).eval()

    return build


@pytest.fixture(autouse=True)
def softmax_as_precise_as_its_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers' eager attention rounds its softmax to float32, also in a float64 model."""
    monkeypatch.setattr(torch.nn.functional, "softmax", lambda x, dim, dtype=None: torch.softmax(x, dim))


@pytest.fixture(scope="session")
def documents() -> Callable[..., list[np.ndarray]]:
    """`documents(5, seed=1)`: that many, of 9 to 20 tokens."""

    def make(number: int, seed: int = 0) -> list[np.ndarray]:
        rng = np.random.default_rng(seed)
        return [rng.integers(3, 97, rng.integers(9, 21)).astype(np.uint32) for _ in range(number)]

    return make


@pytest.fixture(scope="session")
def batches() -> Callable[..., list[PackedBatch]]:
    """`batches(docs, seq_len=20)`: packed, two rows a batch."""

    def make(docs: list[np.ndarray], seq_len: int = 20) -> list[PackedBatch]:
        return list(packed_batches([docs], seq_len=seq_len, batch_tokens=2 * seq_len, pad_id=0, device="cpu"))

    return make
