"""What each row of Q and K changes in the attention maps of documents, exactly: the oracle of `attention_maps`.

PLND (arXiv 2402.18815, eqs. 6-10): the norm of the change of softmax(c q k^T) when one coordinate before RoPE (after
bias and QK-norm) is zero. RoPE turns a coordinate into itself and its partner, so the logits lose a matrix of rank 2:
a_t K_s[j] + b_t K_s[j']. The norm runs over the maps of all heads that the row serves: one for Q, the query group for
K. The released code leaves out the scale c, zeroes after RoPE and copies Q's score to K. Cost: 2 d softmaxes of the
map, tens of times the forward pass; memory bounded by chunks of coordinates.
"""

from __future__ import annotations

import torch
from torch import Tensor

from seatools.lsn_detect.attention_maps import Heads, MapChanges, forbidden

# Numbers of one chunk of maps: a CPU's caches, a GPU's width.
CHUNK_ELEMENTS_CPU = 1 << 20
CHUNK_ELEMENTS_GPU = 1 << 27


def exact(heads: Heads, probe: Tensor, chunk_elements: int | None = None) -> MapChanges:
    """The squared changes of all Q and K rows, and the maps times `probe` [N, KV, P, T], as of `first_order`."""
    found = [_document(heads, index, probe[index], chunk_elements) for index in range(len(heads.q))]
    return MapChanges(*(torch.stack(parts) for parts in zip(*found, strict=True)))


def _document(heads: Heads, index: int, probe: Tensor, chunk_elements: int | None) -> MapChanges:
    q, k = heads.q[index].permute(1, 2, 0, 3), heads.k[index].transpose(0, 1)[:, None]  # [KV, r, T, d], [KV, 1, T, d]
    q, k = (x.to(probe.dtype) if heads.order is None else x.to(probe.dtype)[..., heads.order] for x in (q, k))
    length, d = q.shape[2:]
    h = d // 2
    cos, sin = heads.turn.cos[index].mT, heads.turn.sin[index].mT  # [T, h]
    q_turned, k_turned = (_turned(x, cos, sin) for x in (q, k))
    logits = heads.scaling * q_turned @ k_turned.mT
    mask = forbidden(range(length), range(length), heads.window, logits)
    maps = _maps(logits.clone(), heads.softcap, mask)
    if chunk_elements is None:
        chunk_elements = CHUNK_ELEMENTS_GPU if q.is_cuda else CHUNK_ELEMENTS_CPU
    step = max(1, chunk_elements // logits.numel())

    # x e_j turns into x cos e_j + x sin e_j' for the first coordinate of a pair, - x sin for the second
    direct = heads.scaling * torch.cat((cos, cos), -1)
    crossed = heads.scaling * torch.cat((sin, -sin), -1)
    every = torch.arange(d, device=q.device)
    q_squares: list[Tensor] = []
    k_squares: list[Tensor] = []
    for first in range(0, d, step):
        own = every[first : first + step]
        partner = (own + h) % d
        q_lost = q[..., own] * direct[:, own], q[..., own] * crossed[:, own]
        k_lost = k[..., own] * direct[:, own], k[..., own] * crossed[:, own]
        for lost, into in (
            ((q_lost, (k_turned[..., own], k_turned[..., partner])), q_squares),
            (((q_turned[..., own], q_turned[..., partner]), k_lost), k_squares),
        ):
            left, right = (torch.stack(pair, -1).permute(3, 0, 1, 2, 4) for pair in lost)  # [c, KV, r, T, 2]
            without = torch.sub(logits, left @ right.mT)
            change = _maps(without, heads.softcap, mask).sub_(maps)
            into.append(change.square_().sum(-1).sum(-1, dtype=torch.float64))  # [c, KV, r]
    of_q = torch.cat(q_squares).permute(1, 2, 0)
    of_k = torch.cat(k_squares).sum(-1).T
    return MapChanges(of_q, of_k, probe[:, None] @ maps.mT)


def _maps(logits: Tensor, softcap: float | None, mask: Tensor) -> Tensor:
    """softmax of `logits`, which are overwritten."""
    if softcap is not None:
        logits.div_(softcap).tanh_().mul_(softcap)
    return logits.add_(mask).softmax(-1)


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), -1)
