"""What switching a neuron off changes behind the norm that a block's output goes through (Gemma 2 and 3, OLMo 2).

The block gives y, without the neuron y - u; an RMSNorm of gain g follows. With r^2 = mean(y^2) + eps, s = 1 / r and
r_i, s_i of y - u: the output changes by g (s_i - s) y - g s_i u, of squared norm
(s_i - s)^2 ||g y||^2 - 2 (s_i - s) s_i (g^2 y . u) + s_i^2 ||g u||^2 (eval-lsn C2). s_i - s is not taken as a
difference, which would cancel for the small u of one neuron, but from r^2 - r_i^2 = (2 y . u - ||u||^2) / D: so the
result is as exact as its precision allows. Cost: two more products of the size of the projection out of the block.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from seatools.lsn_detect.statistics import precision_of
from seatools.streams.errors import SeaError


class Lost(NamedTuple):
    """What neurons [n] take from the output y [S, D] of a block, per token, u [S, n, D] not spelled out; g the gain."""

    dot: Tensor  # y . u, [S, n]
    gained_dot: Tensor  # g^2 y . u
    square: Tensor  # ||u||^2
    gained_square: Tensor  # ||g u||^2


class PostNorm(NamedTuple):
    """g * y / sqrt(mean(y^2) + eps)."""

    gain: Tensor  # [D]
    eps: float

    def __call__(self, y: Tensor) -> Tensor:
        """The norm itself, in the dtype of `y` [.., D]."""
        return self.gain * y * (y.square().mean(-1, keepdim=True) + self.eps).rsqrt()

    def squared_changes(self, y: Tensor, lost: Lost) -> Tensor:
        """[S, n]: the squared norm of the change of the normed output, per token and neuron."""
        square = y.square().mean(-1, keepdim=True) + self.eps
        less = (2 * lost.dot - lost.square) / y.shape[-1]
        root, own_root = square.sqrt(), (square - less).clamp(min=self.eps).sqrt()
        own_scale = own_root.reciprocal()
        change = less / (root * own_root * (root + own_root))
        gained = (self.gain * y).square().sum(-1, keepdim=True)
        total = change.square() * gained - 2 * change * own_scale * lost.gained_dot
        return (total + own_scale.square() * lost.gained_square).clamp(min=0)


def read_norm(module: nn.Module, name: str) -> PostNorm:
    """The RMSNorm that `module` is, weight or 1 + weight, shown on made-up numbers. SeaError, by name, for another."""
    weight: Any = getattr(module, "weight", None)
    eps = next(
        (value for key in ("eps", "variance_epsilon") if (value := getattr(module, key, None)) is not None), None
    )
    if isinstance(weight, Tensor) and weight.ndim == 1 and eps is not None:
        dtype = precision_of(weight)
        x = torch.randn(4, len(weight), generator=torch.Generator().manual_seed(0))
        x = (x * torch.tensor([1.0, 30.0, 1e-3, 1e-2])[:, None]).to(weight)  # small ones show eps
        theirs = module(x).to(dtype)
        for gain in (weight.to(dtype), 1 + weight.to(dtype)):
            norm = PostNorm(gain, float(eps))
            error = (norm(x.to(dtype)) - theirs).norm() / theirs.norm()
            if float(error) < (1e-4 if weight.dtype in (torch.float32, torch.float64) else 2e-2):
                return norm
    raise SeaError(
        f"{type(module).__name__} ({name}) is not an RMSNorm that is known: the change behind it cannot be measured",
        fix="leave out --exact-norm",
    )


def pair_with_norm(down: nn.Module, norm: nn.Module, name: str, measure: Callable[[Tensor, Tensor], None]) -> list[Any]:
    """Hooks that call `measure`(what enters `down`, what enters `norm`) where `norm` takes just what `down` gives.

    SeaError, by name, at the first pass where it does not.
    """
    seen: dict[str, Tensor] = {}

    def keep(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        seen["neurons"], seen["output"] = args[0], output

    def take(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        (y,) = args
        if not seen or y.numel() != seen["output"].numel() or y.data_ptr() != seen["output"].data_ptr():
            raise SeaError(
                f"{type(norm).__name__} ({name}) does not take the block's output as it is",
                fix="leave out --exact-norm",
            )
        measure(seen.pop("neurons"), y)
        seen.clear()

    return [down.register_forward_hook(keep), norm.register_forward_pre_hook(take)]
