"""Queries, keys and values of each token and head, [B, T, heads, d], from the module in which they come to be.

That is the QK-norm where there is one, else the projection: before RoPE, a coordinate is one neuron. Norms run over
[B, T, heads * d] (OLMo 2), [B, T, heads, d] (Qwen 3) or [B, heads, T, d] (Gemma 3).
"""

from __future__ import annotations

from torch import Tensor, nn

from seatools.engine.neuron_layers import Attention
from seatools.streams.errors import SeaError


def source_of(layer: Attention, part: str) -> nn.Module:
    """The module whose output `head_rows` takes: for "q" and "k" the norm or the projection, for "v" the projection."""
    norm = {"q": layer.q_norm, "k": layer.k_norm}.get(part)
    return getattr(layer, part).module if norm is None else norm


def head_rows(layer: Attention, part: str, given: Tensor, output: Tensor, shape: tuple[int, int]) -> Tensor:
    """[B, T, heads, d], a view where that can be, of what `source_of(layer, part)` makes of its input `given`.

    `shape` is (B, T). SeaError, naming the attention, for an output of another shape.
    """
    heads, d = layer.num_heads if part == "q" else layer.num_kv_heads, layer.head_dim
    projected = source_of(layer, part) is getattr(layer, part).module
    rows = getattr(layer, part).take(output) if projected else output
    if rows.shape == (*shape, heads * d):
        return rows.unflatten(-1, (heads, d))
    if rows.shape == (shape[0] * shape[1], heads * d):
        return rows.view(*shape, heads, d)
    tokens_first, heads_first = rows.shape == (*shape, heads, d), rows.shape == (shape[0], heads, shape[1], d)
    if tokens_first and heads_first:  # as many heads as tokens: the input is a view of the projection's output
        tokens_first = heads == 1 or given.stride(1) > given.stride(2)
    if tokens_first:
        return rows
    if heads_first:
        return rows.transpose(1, 2)
    raise SeaError(
        f"{type(layer.module).__name__} ({layer.name}): its {part} are {list(rows.shape)}, not {heads} heads of {d} "
        f"for {shape[0]} rows of {shape[1]} tokens",
        fix="--parts ffn,v,o",
    )
