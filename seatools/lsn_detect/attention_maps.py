"""Q and K in closed form: what a row changes in the attention maps of documents, to first order in the softmax.

Off, coordinate j of a query takes delta_ts = a_t K_s[j] + b_t K_s[j'] from the logits (K: turned keys, j': its partner
in RoPE), and the map A loses dA_ts = B_ts delta_ts - A_ts m_t; m_t = sum_s B_ts delta_ts, B: A times a softcap's slope.
||dA_t||^2 = sum B^2 delta^2 - 2 m_t sum A B delta + m_t^2 sum A^2 (eval-lsn C2; PLND eqs. 6-10). Alike, key j puts u_s
into K[j] and w_s into K[j'], and K = u + w, so A K and A^2 K come with the products with u and w. In all 8 d columns of
[T, T], 8 T^2 d operations a head where half a map is left out: blocks of queries see keys up to their own. What all
keys share changes no softmax: u and w lose their mean, or models with large key biases (Qwen 2) would lose digits.
Coordinates stand before tokens, so elementwise operations run over contiguous tokens. Cost: see map_statistics.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

BLOCK_CPU = 64  # queries: 128 compute 12 % more of the map's other half, 32 call twice as many operators
BLOCK_GPU = 512


class Turn(NamedTuple):
    """cos and sin of the angles by which RoPE turns each pair of coordinates, and their products, [N, h, T]; h = d / 2.

    All zero at padding, which takes its queries out of everything.
    """

    cos: Tensor
    sin: Tensor
    cos2: Tensor
    sin2: Tensor
    cross: Tensor  # 2 cos sin

    @classmethod
    def by(cls, cos: Tensor, sin: Tensor) -> Turn:
        return cls(cos, sin, cos.square(), sin.square(), 2 * cos * sin)


@dataclass(frozen=True)
class Heads:
    """Queries and keys of N documents of T tokens before RoPE; H = KV * r heads.

    `order` [d] int64: the model's coordinates in our order, the first ones of all pairs before the second ones; None
    where it is so. Documents shorter than T end in padding: any finite numbers, and angles of zero.
    """

    q: Tensor  # [N, T, KV, r, d], of any float type
    k: Tensor  # [N, T, KV, d]
    order: Tensor | None
    turn: Turn
    scaling: float
    window: int | None = None
    """How many tokens a token sees, itself among them."""
    softcap: float | None = None


class MapChanges(NamedTuple):
    """Squared changes of the maps by each row, float64: of Q [N, KV, r, d], of K in all maps of its group [N, KV, d].

    d in our order; `probed` [N, KV, r, P, T]: the maps times the probe.
    """

    q: Tensor
    k: Tensor
    probed: Tensor


class Room:
    """Memory that is used again from block to block: new pages cost as much as what is written to them."""

    def __init__(self) -> None:
        self._flat: dict[tuple[str, torch.dtype, torch.device], Tensor] = {}
        self._masks: dict[tuple[int, torch.dtype, torch.device], Tensor] = {}

    def of(self, name: str, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """An uninitialised contiguous tensor of that shape, valid until the name is asked for again."""
        size = torch.Size(shape).numel()
        key = name, like.dtype, like.device
        if key not in self._flat or self._flat[key].numel() < size:
            self._flat[key] = torch.empty(size, dtype=like.dtype, device=like.device)
        return self._flat[key][:size].view(shape)

    def apart(self, name: str, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """The same with rows that do not lie a power of two apart, where they would share a few sets of the caches."""
        stride = (shape[-1] // 64 * 4 + 5) * 16
        return self.of(name, (*shape[:-1], stride), like)[..., : shape[-1]]

    def triangle(self, size: int, like: Tensor) -> Tensor:
        """`forbidden` for as many queries as keys, without a window."""
        key = size, like.dtype, like.device
        if key not in self._masks:
            self._masks[key] = forbidden(range(size), range(size), None, like)
        return self._masks[key]


def forbidden(queries: range, keys: range, window: int | None, like: Tensor) -> Tensor:
    """[queries, keys]: 0 where a query sees the key, else -inf."""
    apart = torch.arange(queries.start, queries.stop, device=like.device)[:, None]
    apart = apart - torch.arange(keys.start, keys.stop, device=like.device)
    hidden = apart < 0 if window is None else (apart < 0) | (apart >= window)
    return torch.zeros(apart.shape, dtype=like.dtype, device=like.device).masked_fill_(hidden, -torch.inf)


def first_order(heads: Heads, probe: Tensor, room: Room, block: int | None = None) -> MapChanges:
    """The squared changes of all Q and K rows, and the maps times `probe` [N, KV, P, T].

    In the precision of the heads, sums over blocks and what is returned for rows in float64.
    """
    block = block or (BLOCK_GPU if heads.q.is_cuda else BLOCK_CPU)
    keys = _Keys(heads, probe, room)
    num, length, groups, r, d = heads.q.shape
    of_q = probe.new_zeros(num, groups, d, r, dtype=torch.float64)
    of_k = probe.new_zeros(num, groups, d, dtype=torch.float64)
    probed = probe.new_empty(num, groups, probe.shape[2], r, length)
    for start in range(0, length, block):
        queries = range(start, min(start + block, length))
        sums = _Block(heads, keys, queries, room)
        probed[..., start : queries.stop] = sums.probed
        of_k += sums.of_k()
        of_q += sums.of_q()
    of_k += keys.squares()
    return MapChanges(of_q.transpose(2, 3).clamp_(min=0), of_k.clamp_(min=0), probed.transpose(2, 3))


def _columns(rows: Tensor, order: Tensor | None, name: str, room: Room, like: Tensor) -> Tensor:
    """[N, heads, d, n] from `rows` [N, n, heads, d] in the precision of `like`, coordinates in our order."""
    num, length, heads, d = rows.shape
    found = room.of(name, (num, heads * d, length), like)
    if num == 1:  # torch transposes two dimensions of one type several times as fast as three
        found[0].copy_(rows[0].flatten(1).to(like.dtype).t())
    else:
        found.copy_(rows.flatten(2).mT)
    found = found.view(num, heads, d, length)
    return found if order is None else found[:, :, order]


class _Keys:
    """What blocks of queries multiply their maps by, in [N, KV, columns, T].

    `plain`: u, w, the probe; `squared`: -2 u, -2 w, and the products K1^2, K2^2, K1 K2 of each pair of turned keys.
    w stands where it goes: the first half is what second coordinates put into first ones. u and w hold the scaling.
    """

    def __init__(self, heads: Heads, probe: Tensor, room: Room) -> None:
        k = _columns(heads.k, heads.order, "k", room, probe)
        num, groups, d, length = k.shape
        h = d // 2
        self.d, self.h = d, h
        self.plain = room.apart("plain", (num, groups, 2 * d + probe.shape[2], length), k)
        self.squared = room.apart("squared", (num, groups, 2 * d + 3 * h, length), k)
        cos, sin = (heads.scaling * x[:, None] for x in heads.turn[:2])
        u, w = self.plain[:, :, :d], self.plain[:, :, d : 2 * d]
        torch.mul(k[:, :, :h], cos, out=u[:, :, :h])
        torch.mul(k[:, :, h:], cos, out=u[:, :, h:])
        torch.mul(k[:, :, h:], -sin, out=w[:, :, :h])
        torch.mul(k[:, :, :h], sin, out=w[:, :, h:])
        both = self.plain[:, :, : 2 * d]
        if heads.softcap is None:
            both.sub_(both.mean(-1, keepdim=True))
        self.plain[:, :, 2 * d :] = probe
        torch.mul(both, -2, out=self.squared[:, :, : 2 * d])
        self.turned = torch.add(u, w, out=room.apart("turned", (num, groups, d, length), k))
        products = self.squared[:, :, 2 * d :]
        torch.mul(self.turned, self.turned, out=products[:, :, :d])
        torch.mul(self.turned[:, :, :h], self.turned[:, :, h:], out=products[:, :, d:])
        self.of_queries = room.apart("of queries", (num, groups, 3 * h, length), k).zero_()
        """sum_t B^2_ts of the products Q1^2, Q2^2, Q1 Q2 of the turned queries, over the group."""

    def squares(self) -> Tensor:
        """sum_ts B^2 delta^2 of each K row [N, KV, d] float64, when all queries have been added."""
        h, d = self.h, self.d
        s11, s22, s12 = self.of_queries.split(h, 2)
        u, w = self.plain[:, :, :d], self.plain[:, :, d : 2 * d]
        rows = []
        for own, other, u_own, w_own in (
            (s11, s22, u[:, :, :h], w[:, :, h:]),
            (s22, s11, u[:, :, h:], w[:, :, :h]),
        ):
            rows.append(((own * u_own).addcmul_(s12, w_own, value=2).mul_(u_own) + other * w_own.square()).sum(-1))
        return torch.cat(rows, 2).double()


class _Block:
    """The maps of a block of n queries in all heads, multiplied out: [N, KV, columns, r, n]."""

    def __init__(self, heads: Heads, keys: _Keys, queries: range, room: Room) -> None:
        num, _, groups, r, d = heads.q.shape
        h, n = keys.h, len(queries)
        at = slice(queries.start, queries.stop)
        self.d, self.h, self.room = d, h, room
        self.shape = (num, groups, d, r, n)
        self.turn = Turn(*(x[:, None, :, None, at] for x in heads.turn))
        raw = _columns(heads.q[:, at].flatten(2, 3), heads.order, "raw", room, keys.turned)
        self.raw = raw.unflatten(1, (groups, r)).transpose(2, 3)
        self.q = room.of("q", self.shape, raw)
        first, second = self.raw[:, :, :h], self.raw[:, :, h:]
        torch.mul(first, self.turn.cos, out=self.q[:, :, :h]).addcmul_(second, self.turn.sin, value=-1)
        torch.mul(second, self.turn.cos, out=self.q[:, :, h:]).addcmul_(first, self.turn.sin)
        products = room.of("products", (num, groups, 3 * h, r, n), raw)
        torch.mul(self.q, self.q, out=products[:, :, :d])
        torch.mul(self.q[:, :, :h], self.q[:, :, h:], out=products[:, :, d:])

        low = 0 if heads.window is None else max(0, queries.start - heads.window + 1)
        seen = slice(low, queries.stop)
        maps = room.of("maps", (num * groups, r * n, queries.stop - low), raw)
        logits = room.of("logits", tuple(maps.shape), raw)
        torch.bmm(self.q.view(num * groups, d, r * n).mT, keys.turned.flatten(0, 1)[:, :, seen], out=logits)
        slope = None
        if heads.softcap is not None:
            logits.div_(heads.softcap).tanh_()
            slope = 1 - logits.square()
            logits.mul_(heads.softcap)
        # Without a window a query sees all keys before the block.
        if heads.window is None:
            logits.view(num * groups, r, n, -1)[..., queries.start :].add_(room.triangle(n, logits))
        else:
            mask = forbidden(queries, range(low, queries.stop), heads.window, logits)
            logits.view(num * groups, r, n, -1).add_(mask)
        torch.softmax(logits, -1, out=maps)

        plain, squared = keys.plain.flatten(0, 1)[:, :, seen], keys.squared.flatten(0, 1)[:, :, seen]
        self.of_map = room.of("of map", (num, groups, plain.shape[1], r, n), raw)
        self.of_squares = room.of("of squares", (num, groups, squared.shape[1], r, n), raw)
        of_map, of_squares = (x.view(num * groups, -1, r * n) for x in (self.of_map, self.of_squares))
        torch.bmm(plain, maps.mT, out=of_map)
        if slope is None:
            squares = torch.mul(maps, maps, out=logits)
            map_squares = squares.sum(-1)
            torch.bmm(squared, squares.mT, out=of_squares)
        else:
            map_squares = torch.linalg.vecdot(maps, maps)
            sloped = maps * slope
            of_map[:, : 2 * d] = plain[:, : 2 * d] @ sloped.mT
            of_squares[:, : 2 * d] = squared[:, : 2 * d] @ (maps * sloped).mT
            squares = sloped.square_()
            of_squares[:, 2 * d :] = squared[:, 2 * d :] @ squares.mT
        keys.of_queries.flatten(0, 1)[:, :, seen].baddbmm_(products.view(num * groups, 3 * h, r * n), squares)
        self.map_squares = map_squares.view(num, groups, 1, r, n)
        self.probed = self.of_map[:, :, 2 * d :]

    def of_k(self) -> Tensor:
        """sum_t m_t^2 sum A^2 - 2 m_t sum A B delta of each K row [N, KV, d], over its group."""
        mean = self._weighted(self.of_map, "mean")
        crossed = self._weighted(self.of_squares, "crossed")
        return crossed.addcmul_(mean, self.map_squares).mul_(mean).flatten(3).sum(-1)

    def _weighted(self, sums: Tensor, name: str) -> Tensor:
        """q_j (sums of u_j) + q_j' (sums of w_j), w_j where it goes."""
        d, h, q = self.d, self.h, self.q
        total = torch.mul(q, sums[:, :, :d], out=self.room.of(name, self.shape, q))
        total[:, :, :h].addcmul_(q[:, :, h:], sums[:, :, d + h : 2 * d])
        total[:, :, h:].addcmul_(q[:, :, :h], sums[:, :, d : d + h])
        return total

    def of_q(self) -> Tensor:
        """sum_t ||dA_t||^2 of each Q row [N, KV, d, r]; overwrites the block's sums."""
        d, h = self.d, self.h
        mean = self.of_map[:, :, :d].add_(self.of_map[:, :, d : 2 * d])
        crossed = self.of_squares[:, :, :d].add_(self.of_squares[:, :, d : 2 * d]).addcmul_(mean, self.map_squares)
        # M11, M22 and M12 of the pair, then the form in cos and sin
        own, mixed = self.of_squares[:, :, 2 * d : 3 * d].addcmul_(mean, crossed), self.of_squares[:, :, 3 * d :]
        mixed.addcmul_(mean[:, :, :h], crossed[:, :, h:], value=0.5)
        mixed.addcmul_(mean[:, :, h:], crossed[:, :, :h], value=0.5).mul_(self.turn.cross)
        first, second = own[:, :, :h], own[:, :, h:]
        cos2, sin2 = self.turn.cos2, self.turn.sin2
        lost = self.room.of("mean", self.shape, self.q)
        torch.mul(first, cos2, out=lost[:, :, :h]).addcmul_(second, sin2).add_(mixed)
        torch.mul(second, cos2, out=lost[:, :, h:]).addcmul_(first, sin2).sub_(mixed)
        return lost.mul_(self.raw).mul_(self.raw).sum(-1)


def documents_of_one_length(
    lengths: list[int], num_heads: int, limit: int, block: int
) -> Iterator[tuple[int, list[int]]]:
    """(T, documents) of groups, the longest first, whose maps are computed together, padded to T tokens.

    A document joins a longer one if a sixteenth, or 8 tokens, is lost; a group's block of maps has at most `limit`
    numbers unless it is one document.
    """
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    group: list[int] = []
    for index in order:
        longest = lengths[group[0]] if group else 0
        numbers = (len(group) + 1) * num_heads * min(block, longest) * longest
        if group and (longest - lengths[index] > max(8, longest // 16) or numbers > limit):
            yield longest, group
            group = []
        group.append(index)
    if group:
        yield lengths[group[0]], group
