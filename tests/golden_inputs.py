"""The tiny model and the pairs on which TRL's losses were computed once: the same in any environment, to the bit.

Numbers come from raw PCG64 words, which numpy keeps the same in every release (NEP 19).
"""

from __future__ import annotations

from typing import Any

import numpy as np

CONFIG: dict[str, Any] = dict(
    vocab_size=40, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, max_position_embeddings=64, bos_token_id=1, eos_token_id=2, pad_token_id=0,
    tie_word_embeddings=False,
)  # fmt: skip
BETA, SMOOTHING, SFT_WEIGHT = 0.3, 0.1, 0.2
SIZES = ((6, 5, 3), (2, 1, 9), (11, 4, 4))  # tokens of prompt, chosen, rejected
POLICY, REFERENCE = 11, 12


def uniform(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers from -1 to 1, float32."""
    raw = np.random.PCG64(seed).random_raw(int(np.prod(shape)))
    return ((raw >> 40).astype(np.float64) / 2**23 - 1).astype(np.float32).reshape(shape)


def model_of(seed: int) -> Any:
    """A random Llama in float32, in eval mode."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    model = LlamaForCausalLM(LlamaConfig(**CONFIG)).float().eval()
    with torch.no_grad():
        for number, (_, parameter) in enumerate(sorted(model.named_parameters())):
            noise = torch.from_numpy(uniform(1000 * seed + number, tuple(parameter.shape)))
            parameter.copy_(noise * 0.4 if parameter.ndim > 1 else 1 + 0.2 * noise)
    return model


def examples() -> list[dict[str, list[int]]]:
    """{"prompt_ids", "chosen_ids", "rejected_ids"} of each pair."""
    found = []
    for number, sizes in enumerate(SIZES):
        ids = np.random.PCG64([5, number]).random_raw(sum(sizes)) % 37 + 3
        parts = np.split(ids.astype(int), np.cumsum(sizes)[:-1])
        found.append(
            {f"{key}_ids": part.tolist() for key, part in zip(("prompt", "chosen", "rejected"), parts, strict=True)}
        )
    return found


def figures_of(gradients: dict[str, Any]) -> dict[str, list[float]]:
    """Of each parameter's gradient (float32 numpy): its norm, its product with fixed numbers; small ones whole."""
    found = {}
    for number, (name, gradient) in enumerate(sorted(gradients.items())):
        values = gradient.astype(np.float64).ravel()
        fixed = uniform(77_000 + number, (values.size,)).astype(np.float64)
        found[name] = [
            float(np.linalg.norm(values)),
            float(values @ fixed),
            *(values.tolist() if values.size < 17 else []),
        ]
    return found
