"""The two released detection procedures, written anew from what their code does, for the cost beside ours.

LAPE: RUCAIBox/Language-Specific-Neurons at fdeca23, activation.py (Tang et al., arXiv 2402.16438). Text in windows of
the model's context; `generate` of one token, so the head runs at the last position of each window; the patched MLP
takes SiLU of the gate in place, then fp32 sums of its first four powers and an int32 count of positive values.
PLND: DAMO-NLP-SG/multilingual_analysis at be2b161, neuron_detection/ (Zhao et al., arXiv 2402.18815). One document at a
time through a patched Llama; FFN score: sum over tokens of |up_proj(x)|, with that product made twice more; Q (and K,
the same list): a softmax of the logits less q_j k_j for every coordinate j of every head, [heads, d, L, L] at once in
fp32, squared differences summed; V: sum of |attention output|; scores go to Python lists, are sorted by numpy, the top
of them kept per layer and intersected as sets; and the head runs at every position of every layer (early-exit logits).
What differs here: transformers' Llama with hooks and patched `forward`s in place of vLLM 0.2.7 and of copied model
files (so no paged cache and separate gate and up); PLND's tensor may be made for a few heads at a time (`heads`), the
same work in less memory; the released script does not parse, what it plainly means is run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import DynamicCache
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb, repeat_kv

PLND_FFN_SHARE, PLND_ATTENTION_SHARE = 12_000 / 14_336, 2_000 / 4_096  # the released numbers for Llama-3-8B


class ReleasedLape:
    """Activation counts of windows [n, L] of ids."""

    def __init__(self, model: Any) -> None:
        self.model = model
        config = model.config
        shape = (config.num_hidden_layers, config.intermediate_size)
        device = model.device
        self.sums = [torch.zeros(shape, device=device) for _ in range(4)]
        self.over_zero = torch.zeros(shape, dtype=torch.int32, device=device)

    def run(self, windows: Tensor) -> None:
        """All windows, each prefilled and one token generated greedily."""
        for number, layer in enumerate(self.model.model.layers):
            layer.mlp.forward = MethodType(self._forward(number), layer.mlp)
        try:
            with torch.inference_mode():
                hidden = self.model.model(windows, use_cache=False).last_hidden_state[:, -1]
                self.model.lm_head(hidden).argmax(-1).tolist()
        finally:
            for layer in self.model.model.layers:
                del layer.mlp.forward

    def _forward(self, number: int) -> Any:
        def forward(mlp: Any, x: Tensor) -> Tensor:
            gate = nn.functional.silu(mlp.gate_proj(x), inplace=True)
            values = gate.float()
            for power, total in enumerate(self.sums, 1):
                total[number] += (values if power == 1 else values.pow(power)).sum((0, 1))
            self.over_zero[number] += (values > 0).sum((0, 1))
            return mlp.down_proj(gate * mlp.up_proj(x))

        return forward


class ReleasedPlnd:
    """Sets per layer of what is in the top of every document; `heads`: of the tensor at once, 0 for all (as released).

    `maps` False leaves the Q and K scores out, which the release has no switch for.
    """

    def __init__(self, model: Any, *, heads: int = 0, maps: bool = True) -> None:
        self.model, self.heads, self.maps = model, heads, maps
        self.found: list[dict[str, list[np.ndarray]]] = []
        self.scores: dict[str, list[list[float]]] = {}

    def run(self, documents: Sequence[Tensor]) -> dict[str, list[set[int]]]:
        """Every document [L] of ids by itself, then the intersections: part -> a set per layer."""
        layers = self.model.model.layers
        for layer in layers:
            layer.mlp.forward = MethodType(self._mlp, layer.mlp)
            layer.self_attn.forward = MethodType(self._attention, layer.self_attn)
        try:
            with torch.inference_mode():
                self.found = [self._document(ids) for ids in documents]
        finally:
            for layer in layers:
                del layer.mlp.forward, layer.self_attn.forward
        return {
            part: [set.intersection(*(set(doc[part][i].tolist()) for doc in self.found)) for i in range(len(layers))]
            for part in self.found[0]
        }

    def _document(self, ids: Tensor) -> dict[str, list[np.ndarray]]:
        self.scores = {part: [] for part in ("up", "down", "q", "k", "v")}
        cache = DynamicCache(config=self.model.config)
        out = self.model.model(ids[None], past_key_values=cache, use_cache=True, output_hidden_states=True)
        config = self.model.config
        tops = {part: round(PLND_FFN_SHARE * config.intermediate_size) for part in ("up", "down")}
        attention = round(PLND_ATTENTION_SHARE * config.num_attention_heads * config.head_dim)
        tops |= dict.fromkeys(("q", "k", "v"), attention)
        ranked: dict[str, list[np.ndarray]] = {part: [] for part in tops}
        for number in range(config.num_hidden_layers):
            logits = self.model.lm_head(out.hidden_states[number])
            for part, top in tops.items():
                if self.scores[part]:
                    ranked[part].append(np.argsort(self.scores[part][number])[-top:][::-1])
            logits.argmax(-1).tolist()
        return {part: layers for part, layers in ranked.items() if layers}

    def _mlp(self, mlp: Any, x: Tensor) -> Tensor:
        out = mlp.down_proj(mlp.act_fn(mlp.gate_proj(x)) * mlp.up_proj(x))
        for part in ("up", "down"):
            self.scores[part].append(mlp.up_proj(x).abs().sum(1).squeeze().tolist())
        return out

    def _attention(
        self, attention: Any, hidden_states: Tensor, position_embeddings: Any, attention_mask: Tensor | None = None,
        past_key_values: Any = None, **kwargs: Any,
    ) -> tuple[Tensor, None]:  # fmt: skip
        shape = (*hidden_states.shape[:-1], -1, attention.head_dim)
        q, k, v = (
            linear(hidden_states).view(shape).transpose(1, 2)
            for linear in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        q, k = apply_rotary_pos_emb(q, k, *position_embeddings)
        k, v = past_key_values.update(k, v, attention.layer_idx)
        k, v = (repeat_kv(x, attention.num_key_value_groups) for x in (k, v))
        logits = q @ k.transpose(2, 3) / math.sqrt(attention.head_dim)
        length = logits.shape[-1]
        causal = torch.full((length, length), torch.finfo(logits.dtype).min, device=logits.device, dtype=logits.dtype)
        logits = logits + causal.triu(1)
        maps = nn.functional.softmax(logits, dim=-1, dtype=torch.float32).to(q.dtype)
        attended = (maps @ v).transpose(1, 2).reshape(*hidden_states.shape[:-1], -1)
        if self.maps:
            step = self.heads or q.shape[1]
            scores = [
                self._map_scores(q[:, at : at + step], k[:, at : at + step], logits[:, at : at + step],
                                 maps[:, at : at + step])
                for at in range(0, q.shape[1], step)
            ]  # fmt: skip
            found = torch.cat(scores).tolist()
            self.scores["q"].append(found)
            self.scores["k"].append(list(found))
        self.scores["v"].append(attended.abs().sum(1).squeeze().tolist())
        return attention.o_proj(attended), None

    def _map_scores(self, q: Tensor, k: Tensor, logits: Tensor, maps: Tensor) -> Tensor:
        """[heads * d] of q, k [1, heads, L, d], logits and maps [1, heads, L, L]: the products are not scaled."""
        without = q.transpose(2, 3).unsqueeze(-1) @ k.transpose(2, 3).unsqueeze(-2)  # [1, heads, d, L, L]
        without = logits.unsqueeze(2).expand_as(without) - without
        without = nn.functional.softmax(without, dim=-1, dtype=torch.float32).to(q.dtype)
        without = without - maps.unsqueeze(2).expand_as(without)
        return (without**2).sum((-2, -1)).view(-1)
