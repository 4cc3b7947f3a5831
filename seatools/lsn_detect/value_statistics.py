"""Rows of V and columns of O in one pass: what the attention block loses without each, exactly.

What enters the projection out, o [T, H d], is linear in the values. O column (h, i) off takes o_t[h, i] w_hi from the
block's output: ||w_hi|| sqrt(sum_t o_t[h, i]^2) over a document. V row i of key head j (with its bias entry) feeds
the r query heads of its group: sum_t o_t^T G o_t over those r numbers, G [r, r] the products of the r columns of W_O,
made once (eval-lsn C2); so the sums of o^2 and of the r (r - 1) / 2 products of heads of a group give both. The index
of a V row is kv_head * head_dim + i. PLND (eqs. 5 and 6) has V's change in front of the projection out or behind it.
Cost: (r + 1) / 2 times that of as many FFN neurons' squares; 1 % of the forward pass with 3 query heads to a key head.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from seatools.engine.neuron_layers import Attention, Layers
from seatools.lsn_detect.ffn_statistics import flat, longest
from seatools.lsn_detect.post_norm import Lost, PostNorm, pair_with_norm, read_norm
from seatools.lsn_detect.statistics import Collector, precision_of
from seatools.lsn_detect.tally import Tally
from seatools.streams.errors import SeaError


class ValueStatistics(Collector):
    """Tallies of "v" and "o", as far as they are among `parts`, of every layer.

    SeaError for a model whose attention is not handled.
    """

    def __init__(
        self,
        layers: Layers,
        parts: Sequence[str] = ("v", "o"),
        *,
        top_k: tuple[float, ...],
        thresholds: tuple[float, ...] = (),
        exact_norm: bool = False,
    ) -> None:
        super().__init__()
        wanted = [part for part in ("v", "o") if part in parts]
        layers.places(wanted)  # SeaError where attention is not handled
        self.exact_norm = exact_norm
        self.layers = layers.attention if wanted else ()
        self.tallies: dict[tuple[int, str], Tally] = {}
        for layer in self.layers:
            if getattr(layer.module, "v_norm", None) is not None:
                raise SeaError(
                    f"{type(layer.module).__name__} ({layer.name}) norms its values: rows of v cannot be measured",
                    fix="--parts ffn",
                )
            device = next(layer.o.parameters()).device
            for part in wanted:
                tally = Tally(layer.places[part], device, top_k=top_k, thresholds=thresholds)
                self.tallies[layer.layer, part] = tally

    def arrays(self) -> dict[tuple[int, str], dict[str, np.ndarray]]:
        return {key: tally.arrays() for key, tally in self.tallies.items()}

    def attach(self) -> None:
        for layer in self.layers:
            norm = layer.post_norm if self.exact_norm else None
            if norm is None:
                self.handles.append(layer.o.register_forward_pre_hook(self._measure(layer)))
            else:
                name = f"behind {layer.name}"
                self.handles += pair_with_norm(layer.o, norm, name, self._measure_normed(layer, read_norm(norm, name)))

    def _measure(self, layer: Attention) -> Callable[..., None]:
        heads = _Heads(layer)

        def hook(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            membership = self.membership
            x = flat(args[0], heads.width, membership)
            dtype = precision_of(x)
            width = heads.width if (layer.layer, "v") not in self.tallies else heads.num_products
            sums = x.new_zeros(membership.num_docs, width, dtype=dtype)
            blocks = membership.blocks(width, dtype, x.device)
            room = x.new_empty(longest(blocks), width, dtype=dtype)
            for block in blocks:
                products = heads.products(x[block.start : block.stop].to(dtype), room[: block.stop - block.start])
                sums[block.first : block.last].addmm_(block.documents, products)
            self._take(layer, "o", sums[:, : heads.width] * heads.square)
            if width == heads.num_products:
                self._take(layer, "v", heads.of_values(sums * heads.coefficients))

        return hook

    def _measure_normed(self, layer: Attention, norm: PostNorm) -> Callable[[Tensor, Tensor], None]:
        dtype = norm.gain.dtype
        heads, gained = _Heads(layer), _Heads(layer, norm.gain)
        weight = layer.o_weight().to(dtype)

        def measure(attended: Tensor, output: Tensor) -> None:
            membership = self.membership
            x, y = flat(attended, heads.width, membership), flat(output, len(weight), membership)
            of_o = x.new_zeros(membership.num_docs, heads.width, dtype=dtype)
            of_v = x.new_zeros(membership.num_docs, heads.num_values, dtype=dtype)
            for block in membership.blocks(heads.num_products, dtype, x.device):
                o, given = (z[block.start : block.stop].to(dtype) for z in (x, y))
                products = heads.products(o, o.new_empty(len(o), heads.num_products))
                squares = products[:, : heads.width]
                dots = o * (given @ weight), o * ((norm.gain.square() * given) @ weight)
                lost = Lost(*dots, squares * heads.square, squares * gained.square)
                changed = norm.squared_changes(given, lost)
                of_o[block.first : block.last].addmm_(block.documents, changed)
                lost = Lost(
                    heads.of_group(dots[0]), heads.of_group(dots[1]),
                    heads.of_values(products * heads.coefficients), gained.of_values(products * gained.coefficients),
                )  # fmt: skip
                of_v[block.first : block.last].addmm_(block.documents, norm.squared_changes(given, lost))
            self._take(layer, "o", of_o)
            self._take(layer, "v", of_v)

        return measure

    def _take(self, layer: Attention, part: str, squares: Tensor) -> None:
        tally = self.tallies.get((layer.layer, part))
        if tally is not None:
            tally.add(squares.clamp_(min=0).sqrt_(), self.membership.on(squares.device)[1])


class _Heads:
    """The products of a token's attended numbers [H d], and how much of each V rows and O columns take.

    Products are laid out [H d squares | those of heads 1 apart in their group | 2 apart | ...].
    """

    def __init__(self, layer: Attention, gain: Tensor | None = None) -> None:
        weight = layer.o_weight()
        weight = weight.to(precision_of(weight) if gain is None else gain.dtype)
        if gain is not None:
            weight = gain[:, None] * weight
        self.group = layer.num_heads // layer.num_kv_heads
        self.shape = layer.num_kv_heads, self.group, layer.head_dim
        self.width = weight.shape[1]
        self.num_values = self.width // self.group
        self.num_products = self.num_values * self.group * (self.group + 1) // 2
        columns = weight.unflatten(1, self.shape)
        grams = [(columns[:, :, apart:] * columns[:, :, : self.group - apart]).sum(0) for apart in range(self.group)]
        self.square = grams[0].flatten()
        """||w||^2 of each column of O, [H d]."""
        self.coefficients = torch.cat([(1 if apart == 0 else 2) * gram.flatten() for apart, gram in enumerate(grams)])
        """Of each product in the square of what a V row takes away, [num_products]."""

    def products(self, x: Tensor, out: Tensor) -> Tensor:
        """Those of `x` [S, H d] in `out` [S, num_products], or the squares alone in one of [S, H d]."""
        torch.mul(x, x, out=out[:, : self.width])
        if out.shape[1] > self.width:
            heads = x.unflatten(1, self.shape)
            for apart, place in self._apart(out):
                torch.mul(heads[:, :, apart:], heads[:, :, : self.group - apart], out=place)
        return out

    def of_values(self, products: Tensor) -> Tensor:
        """Sums [S, KV d] over the products of each V row."""
        total = self.of_group(products[:, : self.width])
        for _apart, place in self._apart(products):
            total += place.sum(2).flatten(1)
        return total

    def of_group(self, x: Tensor) -> Tensor:
        """Sums [S, KV d] of `x` [S, H d] over the query heads of each key head."""
        return x.unflatten(1, self.shape).sum(2).flatten(1)

    def _apart(self, products: Tensor) -> Iterator[tuple[int, Tensor]]:
        """(how far apart, their products [S, KV, group - apart, d])."""
        kv_heads, group, head_dim = self.shape
        start = self.width
        for apart in range(1, group):
            size = kv_heads * (group - apart) * head_dim
            yield apart, products[:, start : start + size].unflatten(1, (kv_heads, group - apart, head_dim))
            start += size
