"""One trained tensor of an optimiser: where its fp32 master, its gradient and its moments are.

Four kinds: a `Selection` (its `values` are master and leaf), an fp32 parameter (its own master; where FSDP2 has sharded
it, everything here is this rank's part), a low-precision parameter with an fp32 copy as master and an fp32 sum of
gradients, and a low-precision parameter that is updated in place.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, Shard

from seatools.engine.selected import Selection


class TrainedEntry:
    """`name`, where its numbers are, and its moments; see the module's text. Raises ValueError for what cannot be."""

    def __init__(
        self,
        name: str,
        target: nn.Parameter | Selection,
        *,
        decay: float,
        lr_scale: float,
        state_dtype: torch.dtype,
        masters: bool,
        muon: bool,
    ) -> None:
        self.name, self.decay, self.lr_scale = name, decay, lr_scale
        self.selection = target if isinstance(target, Selection) else None
        self.param = target.param if isinstance(target, Selection) else target
        self.is_sharded = isinstance(self.param, DTensor)
        if isinstance(self.param, DTensor) and [type(p) for p in self.param.placements] != [Shard]:
            raise ValueError(f"{name} is placed as {self.param.placements}: one sharded dimension is handled")
        if muon and (self.selection is not None or self.param.ndim != 2):
            raise ValueError(f"{name}: Muon is for whole weights of two dimensions")
        # fp32 copy and sum of gradients, where weight and .grad are of lower precision
        self.own_master: Tensor | None = None
        self.own_grad: Tensor | None = None
        if self.selection is None and self.param.dtype != torch.float32 and masters:
            if self.is_sharded:
                raise ValueError(
                    f"{name} is sharded in {self.param.dtype}: shard fp32 weights, they are their own masters"
                )
            self.own_master = self.param.detach().to(torch.float32, copy=True)
        self.momentum = torch.zeros_like(self.master, dtype=state_dtype) if muon else None
        self.exp_avg = None if muon else torch.zeros_like(self.master, dtype=state_dtype)
        self.exp_avg_sq = None if muon else torch.zeros_like(self.master, dtype=state_dtype)

    @property
    def numel(self) -> int:
        """How many numbers are trained, over all ranks."""
        return self.param.numel() if self.selection is None else self.selection.values.numel()

    @property
    def master(self) -> Tensor:
        """What the update is applied to, this rank's part: fp32, but for a low-precision weight without a master."""
        if self.own_master is not None:
            return self.own_master
        return _local(self.param if self.selection is None else self.selection.values)

    @property
    def grad(self) -> Tensor | None:
        """The gradient of `master`, if there is one."""
        if self.own_master is not None:
            return self.own_grad
        grad = self.param.grad if self.selection is None else self.selection.values.grad
        return None if grad is None else _local(grad)

    @property
    def widened(self) -> int:
        """How many numbers an update holds in fp32 copies."""
        narrow = any(x.dtype != torch.float32 for x in (self.master, self.exp_avg) if x is not None)
        return self.master.numel() if narrow else 0

    def take_gradient(self) -> None:
        """Move the weight's low-precision gradient into the fp32 sum and free it."""
        if self.own_master is None or self.param.grad is None:
            return
        grad, self.param.grad = self.param.grad, None
        self.own_grad = grad.to(torch.float32, copy=True) if self.own_grad is None else self.own_grad.add_(grad)

    def grad_or_zero(self) -> Tensor:
        """The gradient, which is made zero where there is none."""
        if self.grad is None:
            if self.own_master is not None:
                self.own_grad = torch.zeros_like(self.own_master)
            else:
                leaf = self.param if self.selection is None else self.selection.values
                leaf.grad = torch.zeros_like(leaf)
        assert self.grad is not None
        return self.grad

    def zero_grad(self) -> None:
        """Forget the gradient."""
        self.own_grad = None
        self.param.grad = None
        if self.selection is not None:
            self.selection.values.grad = None

    def operands(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What AdamW works on: master, gradient, moments."""
        assert self.grad is not None and self.exp_avg is not None and self.exp_avg_sq is not None
        return self.master, self.grad, self.exp_avg, self.exp_avg_sq

    def keep(self, master: Tensor, moments: Mapping[str, Tensor]) -> None:
        """Take the updated numbers [fp32], which may be the entry's own, and round the master into the weight."""
        for own, new in ((self.master, master), *((getattr(self, key), value) for key, value in moments.items())):
            if own.data_ptr() != new.data_ptr():
                own.copy_(new)
        self.write_back()

    @torch.no_grad()
    def write_back(self) -> None:
        """Round the master into the weight."""
        if self.selection is not None:
            self.selection.write_back()
        elif self.own_master is not None:
            self.param.copy_(self.own_master)

    @torch.no_grad()
    def stored(self, *, copy: bool = True) -> Tensor:
        """The trained numbers as the model has them, this rank's part."""
        if self.selection is not None:
            return self.selection.stored()
        weight = _local(self.param)
        return weight.clone() if copy else weight

    def unchanged(self, before: Tensor) -> tuple[Tensor, Tensor]:
        """(how many numbers with a gradient are as they were `before`, how many have a gradient)."""
        assert self.grad is not None
        moved = self.grad != 0
        return ((self.stored(copy=False) == before) & moved).sum(), moved.sum()

    def state(self) -> dict[str, Tensor]:
        """The tensors to save, by their short names."""
        tensors = {"exp_avg": self.exp_avg, "exp_avg_sq": self.exp_avg_sq, "momentum": self.momentum}
        if self.selection is not None:
            tensors |= {"master": self.selection.values.detach(), "index": self.selection.index}
        else:
            tensors["master"] = self.own_master
        return {key: self._like_param(value) for key, value in tensors.items() if value is not None}

    def _like_param(self, local: Tensor) -> Tensor:
        param = self.param
        if not isinstance(param, DTensor):
            return local
        return DTensor.from_local(
            local, param.device_mesh, param.placements, run_check=False, shape=param.shape, stride=param.stride()
        )


def _local(tensor: Tensor) -> Tensor:
    """This rank's part of a sharded tensor, sharing its memory; any other tensor itself, detached."""
    tensor = tensor.detach()
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
