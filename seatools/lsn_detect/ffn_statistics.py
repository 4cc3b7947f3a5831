"""FFN neurons in one pass: how often each is active, how much, and what the block loses without it, exactly.

Off, neuron i takes a_ti w_i from the block's output, a = act(x W_gate) * (x W_up) (or act(x W_fc1)), w_i its column of
the projection out: Imp_i = ||w_i|| sqrt(sum_t a_ti^2) over a document's tokens (PLND eqs. 1-5 in closed form, eval-lsn
C2), one value for gate row, up row and down column. With `exact_norm` the change is measured behind the norm on the
block's output, where the model has one. Of a shared expert the change is that of the whole mixture's output, its
sigmoid gate included. Besides, per half of the corpus: tokens with a positive pre-activation (LAPE), sum |a|, sum a^2.
Cost (one thread, float32, d_ff 2048, D 768): signs 0.6 and sums 0.75 ns a neuron and token (0.4 each to read them),
ranks 24 ns a neuron and document: 2 to 3 % of the forward pass, 6 to 7 % in bfloat16 with AMX.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from seatools.engine.neuron_layers import FFN, Experts, Layers
from seatools.lsn_detect.experts import own_forward
from seatools.lsn_detect.post_norm import Lost, PostNorm, pair_with_norm, read_norm
from seatools.lsn_detect.statistics import Collector, Membership, precision_of
from seatools.lsn_detect.tally import Tally
from seatools.streams.errors import SeaError

# act(x) > 0 exactly where x > 0, so the sign of the pre-activation is that of the activation (transformers' names).
SIGN_KEEPING = (
    "silu", "swish", "mish", "gelu", "gelu_new", "gelu_fast", "gelu_python", "gelu_python_tanh", "gelu_accurate",
    "gelu_pytorch_tanh", "quick_gelu", "relu", "relu2", "relu6", "leaky_relu", "tanh",
    "linear",
)  # fmt: skip


class FFNSums:
    """Of one place on the device of its weights: `tally` of its importances and the sums of its activations."""

    def __init__(self, layer: FFN | Experts, device: torch.device, tally: Tally) -> None:
        n = layer.place.size
        self.layer, self.tally = layer, tally
        self.positive = torch.zeros(2, n, dtype=torch.int64, device=device)
        self.squares = torch.zeros(2, n, dtype=torch.float64, device=device)
        self.absolute = torch.zeros_like(self.squares)
        self.routed: Tensor | None = None
        if isinstance(layer, Experts):
            self.routed = torch.zeros(2, layer.num_experts, dtype=torch.int64, device=device)

    def arrays(self) -> dict[str, np.ndarray]:
        """Those of the tally; `squares` and `absolute` float64 [2, n]; `positive` int64 [2, n], left out where the sign
        of the pre-activation is not that of the activation; `routed` int64 [2, E] of experts."""
        sums = {"squares": self.squares, "absolute": self.absolute}
        if self.layer.activation in SIGN_KEEPING:
            sums["positive"] = self.positive
        if self.routed is not None:
            sums["routed"] = self.routed
        return self.tally.arrays() | {name: tensor.cpu().numpy() for name, tensor in sums.items()}


class FFNStatistics(Collector):
    """`FFNSums` of every FFN and shared expert among `parts`. SeaError for `exact_norm` behind a mixture of experts."""

    def __init__(
        self,
        layers: Layers,
        parts: Sequence[str] = ("ffn", "shared"),
        *,
        top_k: tuple[float, ...],
        thresholds: tuple[float, ...] = (),
        exact_norm: bool = False,
    ) -> None:
        super().__init__()
        self.exact_norm = exact_norm
        self.sums: list[FFNSums] = []
        wanted = [layer for layer in layers.ffn if layer.part in parts]
        mixed = {layer.layer for layer in layers.ffn if isinstance(layer, Experts)}
        for layer in wanted:
            if exact_norm and layer.post_norm is not None and layer.layer in mixed:
                raise SeaError(
                    f"{type(layer.module).__name__} ({layer.name}): the change behind the norm of a mixture of experts "
                    "cannot be measured",
                    fix="leave out --exact-norm",
                )
            device = next(layer.module.parameters()).device
            tally = Tally(layer.place, device, top_k=top_k, thresholds=thresholds)
            self.sums.append(FFNSums(layer, device, tally))

    def arrays(self) -> dict[tuple[int, str], dict[str, np.ndarray]]:
        return {sums.layer.place.key: sums.arrays() for sums in self.sums}

    def attach(self) -> None:
        for sums in self.sums:
            layer = sums.layer
            if isinstance(layer, Experts):
                self.handles.append(own_forward(layer, sums, self._membership))
                continue
            self.handles.append(layer.gate.register_forward_hook(self._count_positive(layer, sums)))
            if self.exact_norm and layer.post_norm is not None:
                name = f"behind {layer.name}"
                norm = read_norm(layer.post_norm, name)
                measure = self._measure_normed(layer, sums, norm)
                self.handles += pair_with_norm(layer.down, layer.post_norm, name, measure)
            else:
                self._attach_plain(layer, sums)

    def _membership(self) -> Membership:
        return self.membership

    def _attach_plain(self, layer: FFN, sums: FFNSums) -> None:
        norms = column_norms(layer.down_weight())
        gate = layer.output_gate
        scale: list[Tensor] = []

        def keep_scale(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            assert gate is not None
            scale[:] = [gate(args[0]).sigmoid().flatten()]

        def measure(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            importance = self._sum(sums, args[0], scale.pop() if scale else None).sqrt_() * norms
            sums.tally.add(importance, self.membership.on(importance.device)[1])

        if gate is not None:
            self.handles.append(layer.module.register_forward_pre_hook(keep_scale))
        self.handles.append(layer.down.register_forward_pre_hook(measure))

    def _count_positive(self, layer: FFN, sums: FFNSums) -> Callable[..., None]:
        n = layer.place.size

        def hook(module: nn.Module, args: Any, output: Tensor) -> None:
            x = flat(layer.gate_take(output), n, self.membership)
            counts = torch.zeros(2, n, device=x.device)  # whole numbers, exact below 2^24 tokens
            blocks = self.membership.blocks(n, torch.float32, x.device)
            room = torch.empty(longest(blocks), n, device=x.device)
            for block in blocks:
                # Twice as fast as a comparison to bool, five times as one that is summed.
                ones = torch.gt(x[block.start : block.stop], 0, out=room[: block.stop - block.start])
                counts.addmm_(block.halves, ones)
            sums.positive += counts.to(torch.int64)

        return hook

    def _sum(self, sums: FFNSums, activation: Tensor, scale: Tensor | None) -> Tensor:
        """sum (scale a)^2 over each document [docs, n]; sum |a| and a^2 go into `sums`."""
        n, membership = sums.layer.place.size, self.membership
        x = flat(activation, n, membership)
        dtype = precision_of(x)
        squares = x.new_zeros(membership.num_docs, n, dtype=dtype)
        absolute, unscaled = x.new_zeros(2, n, dtype=dtype), x.new_zeros(2, n, dtype=dtype)
        blocks = membership.blocks(n, dtype, x.device)
        room = x.new_empty(longest(blocks), n, dtype=dtype)
        for block in blocks:
            own, magnitudes = x[block.start : block.stop], room[: block.stop - block.start]
            if own.dtype == dtype:
                torch.abs(own, out=magnitudes)  # one pass less than a copy
            else:
                magnitudes.copy_(own).abs_()
            absolute.addmm_(block.halves, magnitudes)
            magnitudes.mul_(magnitudes)
            documents = block.documents
            if scale is not None:
                unscaled.addmm_(block.halves, magnitudes)
                documents = documents * scale[block.start : block.stop].to(dtype).square()
            squares[block.first : block.last].addmm_(documents, magnitudes)
        sums.absolute += absolute
        sums.squares += by_half(squares, membership) if scale is None else unscaled
        return squares

    def _measure_normed(self, layer: FFN, sums: FFNSums, norm: PostNorm) -> Callable[[Tensor, Tensor], None]:
        n, dtype = layer.place.size, norm.gain.dtype
        weight = layer.down_weight().to(dtype)
        square, gained_square = weight.square().sum(0), (norm.gain[:, None] * weight).square().sum(0)

        def measure(activation: Tensor, output: Tensor) -> None:
            self._sum(sums, activation, None)
            membership = self.membership
            x, y = flat(activation, n, membership), flat(output, len(weight), membership)
            changes = x.new_zeros(membership.num_docs, n, dtype=dtype)
            for block in membership.blocks(n, dtype, x.device):
                a, given = (z[block.start : block.stop].to(dtype) for z in (x, y))
                lost = Lost(
                    a * (given @ weight), a * ((norm.gain.square() * given) @ weight),
                    a.square() * square, a.square() * gained_square,
                )  # fmt: skip
                changes[block.first : block.last].addmm_(block.documents, norm.squared_changes(given, lost))
            sums.tally.add(changes.sqrt_(), membership.on(x.device)[1])

        return measure


def column_norms(weight: Tensor) -> Tensor:
    """||w_i|| of the columns of `weight` [D, n], float32, or float64 where it is."""
    return weight.to(precision_of(weight)).square().sum(0).sqrt()


def by_half(sums: Tensor, membership: Membership) -> Tensor:
    """[2, n] float64: `sums` [docs, n] added up over the documents of each half."""
    _owners, halves = membership.on(sums.device)
    return torch.stack([1 - halves, halves]).double() @ sums.double()


def flat(x: Tensor, width: int, membership: Membership) -> Tensor:
    """[tokens, width] of what a module takes or gives. SeaError where it is not one row for each token of the batch."""
    if x.shape[-1] != width or x.numel() != width * membership.num_tokens:
        raise SeaError(f"{list(x.shape)} are not {membership.num_tokens} tokens of {width}: it cannot be measured")
    return x.reshape(-1, width)


def longest(blocks: list[Any]) -> int:
    """Tokens of the longest of them."""
    return max((block.stop - block.start for block in blocks), default=0)
