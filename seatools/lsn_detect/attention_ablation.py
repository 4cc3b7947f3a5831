"""What the attention of a document loses without one row of q_proj, k_proj or v_proj: exact, one document at a time.

Q and K (PLND, arXiv 2402.18815, eqs. 6-10): the norm of the change of the attention map softmax(c q k^T) when one
coordinate before RoPE (after bias and QK-norm) is zero. RoPE turns coordinate j into j and its partner j' at half a
head's distance, so the logits lose a matrix of rank 2: a_t k_s[j] + b_t k_s[j']. The norm runs over the maps of all
heads that the row serves: one for Q, the query group for K. The released code leaves out the scale c, zeroes after
RoPE and copies Q's score to K. Cost: 2 * head_dim softmaxes of the map, which far exceeds the forward pass; memory
bounded by chunks of coordinates.
V: linear, so the closed form. Coordinate i of KV head j feeds r query heads; the block's output changes by
sum_r o[t, r] W_O[:, r], of norm^2 sum_t o_t^T G o_t, G = W_O^T W_O [r, r] over those columns (eval-lsn C2).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

# Elements of one chunk of maps: a CPU's caches, a GPU's width.
CHUNK_ELEMENTS_CPU = 1 << 20
CHUNK_ELEMENTS_GPU = 1 << 27


class MapChanges(NamedTuple):
    """Importances of one document: of Q rows [H * d] and K rows [KV * d] float64; `maps` [H, T, T] with all of them."""

    q: Tensor
    k: Tensor
    maps: Tensor


def rotate_half(x: Tensor) -> Tensor:
    """The partner of each coordinate in RoPE of Llama's layout: (-x2, x1) of the halves (x1, x2)."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat((-second, first), dim=-1)


def map_changes(
    q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, scaling: float, *, chunk_elements: int | None = None
) -> MapChanges:
    """What each Q and K row, at head * d + coordinate, changes in the causal attention maps of one document.

    `q` [H, T, d] and `k` [KV, T, d] as they enter RoPE, `cos` and `sin` [T, d] of their positions.
    """
    num_heads, num_tokens, head_dim = q.shape
    group = num_heads // k.shape[0]
    k = k.repeat_interleave(group, dim=0)
    q_rotated, k_rotated = (x * cos + rotate_half(x) * sin for x in (q, k))
    future = torch.ones(num_tokens, num_tokens, dtype=torch.bool, device=q.device).triu(1)
    logits = (scaling * q_rotated @ k_rotated.transpose(1, 2)).masked_fill(future, -torch.inf)
    maps = logits.softmax(-1)
    if chunk_elements is None:
        chunk_elements = CHUNK_ELEMENTS_GPU if q.is_cuda else CHUNK_ELEMENTS_CPU
    step = max(1, chunk_elements // logits.numel())

    every = torch.arange(head_dim, device=q.device)
    partner_of_all = (every + head_dim // 2) % head_dim
    # x e_j turns into x cos[j] e_j + sign x sin[j'] e_j'
    direct = scaling * cos
    crossed = scaling * (torch.where(every < head_dim // 2, 1, -1) * sin[:, partner_of_all])  # in the dtype of sin
    q_squares, k_squares = [], []
    for first in range(0, head_dim, step):
        own = every[first : first + step]
        partner = partner_of_all[own]
        q_lost = q[..., own] * direct[:, own], q[..., own] * crossed[:, own]
        k_lost = k[..., own] * direct[:, own], k[..., own] * crossed[:, own]
        q_squares.append(_squared_changes(logits, q_lost, (k_rotated[..., own], k_rotated[..., partner]), maps))
        k_squares.append(_squared_changes(logits, (q_rotated[..., own], q_rotated[..., partner]), k_lost, maps))
    of_q = torch.cat(q_squares).T  # [H, d]
    of_k = torch.cat(k_squares).T.unflatten(0, (-1, group)).sum(1)  # [KV, d]
    return MapChanges(of_q.sqrt().flatten(), of_k.sqrt().flatten(), maps)


Pair = tuple[Tensor, Tensor]


def _squared_changes(logits: Tensor, left: Pair, right: Pair, maps: Tensor) -> Tensor:
    """||softmax(logits - lost) - maps||^2 over both tokens, [c, H] float64; lost = left right^T, pairs of [H, T, c]."""
    first, second = (torch.stack(pair, dim=-1).permute(2, 0, 1, 3) for pair in (left, right))  # [c, H, T, 2]
    lost = first @ second.transpose(-1, -2)
    change = torch.sub(logits, lost, out=lost).softmax(-1).sub_(maps)
    return change.square_().sum(-1).sum(-1, dtype=torch.float64)


def output_gram(o_weight: Tensor, num_kv_heads: int, head_dim: int) -> Tensor:
    """G [KV, d, r, r]: products of the columns of `o_weight` [D, H * d] that one V row reaches through its r heads."""
    columns = o_weight.unflatten(1, (num_kv_heads, -1, head_dim))
    return torch.einsum("ojri,ojsi->jirs", columns, columns)


def value_changes(attended: Tensor, gram: Tensor) -> Tensor:
    """Importances of V rows [KV * d] float64 on one document from `attended` [T, H * d], what enters o_proj."""
    heads = attended.unflatten(1, (gram.shape[0], -1, gram.shape[1]))  # [T, KV, r, d]
    products = torch.einsum("tjri,tjsi->jirs", heads, heads)
    return (products * gram).sum((-1, -2), dtype=torch.float64).clamp(min=0).sqrt().flatten()
