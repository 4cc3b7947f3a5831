"""AdamW with fp32 masters, also for chosen rows or columns of a weight.

A pure bf16 update is mostly lost: at lr 1e-5 only 15 % of weights around 0.02 change at all, because the step is less
than half the distance to the next bf16 number. So each bf16 or fp16 weight has an fp32 master that takes the update and
is rounded into the weight afterwards. Its gradients are summed over micro-batches in fp32 too: a hook takes each one as
soon as the backward pass has finished it and frees the bf16 original. fp32 weights are their own masters.
A `Selection` trains some rows or columns only: master, moments and gradient are that slice, nothing else ever changes
by a bit. Memory: 16 B a trained bf16 element, 12 B (gradient included) an fp32 one.
Update rule: Loshchilov & Hutter, arXiv 1711.05101, in the order of operations of torch.optim.AdamW.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from seatools.streams.errors import SeaError


@dataclass(frozen=True, eq=False)
class Selection:
    """The part `param.index_select(dim, index)` of a weight: the only part of it that is trained."""

    param: nn.Parameter
    dim: int
    index: Tensor  # [k] int64, distinct

    def __post_init__(self) -> None:
        if not 0 <= self.dim < self.param.ndim:
            raise ValueError(f"dimension {self.dim} of a weight with {self.param.ndim} dimensions")
        index = self.index
        if index.ndim != 1 or index.dtype != torch.int64 or index.numel() == 0 or index.unique().numel() != len(index):
            raise ValueError("the index must be distinct int64 numbers, at least one, in one dimension")
        if int(index.min()) < 0 or int(index.max()) >= self.param.shape[self.dim]:
            raise ValueError(f"the index goes to {int(index.max())}, the weight has {self.param.shape[self.dim]}")
        object.__setattr__(self, "index", index.to(self.param.device))


class _Entry:
    """One trained tensor: a whole parameter or a selection from it."""

    def __init__(self, name: str, target: nn.Parameter | Selection, decay: float, lr_scale: float) -> None:
        self.name = name
        self.selection = target if isinstance(target, Selection) else None
        self.param = target.param if isinstance(target, Selection) else target
        self.decay, self.lr_scale = decay, lr_scale
        # None: the weight is fp32 and trained whole, so it is its own master, and its .grad is the gradient
        self.own_master: Tensor | None = None
        if self.selection is not None or self.param.dtype != torch.float32:
            self.own_master = self._slice(self.param.detach()).to(torch.float32, copy=True)
        self.exp_avg = torch.zeros_like(self.master)
        self.exp_avg_sq = torch.zeros_like(self.master)
        self.own_grad: Tensor | None = None

    def _slice(self, tensor: Tensor) -> Tensor:
        return tensor if self.selection is None else tensor.index_select(self.selection.dim, self.selection.index)

    @property
    def master(self) -> Tensor:
        return self.param.detach() if self.own_master is None else self.own_master

    @property
    def grad(self) -> Tensor | None:
        return self.param.grad if self.own_master is None else self.own_grad

    def take_gradient(self) -> None:
        """Move the weight's gradient into the fp32 sum and free it."""
        if self.own_master is None or self.param.grad is None:
            return
        grad = self._slice(self.param.grad)
        self.param.grad = None
        self.own_grad = grad.to(torch.float32, copy=True) if self.own_grad is None else self.own_grad.add_(grad)

    def write_back(self) -> None:
        """Round the master into the weight."""
        if self.own_master is None:
            return
        with torch.no_grad():
            if self.selection is None:
                self.param.copy_(self.own_master)
            else:
                self.param.index_copy_(self.selection.dim, self.selection.index, self.own_master.to(self.param.dtype))

    def state(self) -> dict[str, Tensor]:
        """The tensors to save, by their short names."""
        tensors = {"exp_avg": self.exp_avg, "exp_avg_sq": self.exp_avg_sq}
        if self.own_master is not None:
            tensors["master"] = self.own_master
        if self.selection is not None:
            tensors["index"] = self.selection.index
        return tensors


class MasterAdamW:
    """AdamW over named parameters and selections of parameters; see the module's text.

    `trained`: (name, Parameter or Selection) pairs, a parameter at most once. `lr_scales`: name -> factor on the
    learning rate (1 where absent). `decays(name, param)` says which tensors are decayed: by default those with two
    or more dimensions, so no norms and biases. A tensor without a gradient is left alone by `step`.
    One optimiser per model at a time: the hooks of two would compete for the gradients.
    """

    def __init__(
        self,
        trained: Iterable[tuple[str, nn.Parameter | Selection]],
        *,
        lr_scales: Mapping[str, float] | None = None,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        weight_decay: float = 0.1,
        decays: Callable[[str, Tensor], bool] = lambda name, param: param.ndim >= 2,
    ) -> None:
        if not (0 <= betas[0] < 1 and 0 <= betas[1] < 1 and eps > 0 and weight_decay >= 0):
            raise ValueError(f"betas {betas}, eps {eps}, weight decay {weight_decay} are out of range")
        scales = dict(lr_scales or {})
        self.betas, self.eps = betas, eps
        self.num_steps = 0
        self.entries: list[_Entry] = []
        seen: set[int] = set()
        for name, target in trained:
            param = target.param if isinstance(target, Selection) else target
            if id(param) in seen or any(name == entry.name for entry in self.entries):
                raise ValueError(f"{name} is given twice")
            if not param.requires_grad:
                raise ValueError(f"{name} does not require a gradient")
            seen.add(id(param))
            decay = weight_decay if decays(name, param) else 0.0
            self.entries.append(_Entry(name, target, decay, scales.pop(name, 1.0)))
        if not self.entries:
            raise ValueError("nothing to train")
        if scales:
            raise ValueError(f"learning-rate factors for tensors that are not trained: {', '.join(sorted(scales))}")
        for entry in self.entries:
            if entry.own_master is not None:
                entry.param.register_post_accumulate_grad_hook(_gradient_hook(entry))

    def gather(self) -> list[Tensor]:
        """The gradients [fp32] of the trained entries that have one; takes in any that a hook has not seen."""
        for entry in self.entries:
            entry.take_gradient()
        return [entry.grad for entry in self.entries if entry.grad is not None]

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """One update with learning rate `lr` (times each entry's factor)."""
        self.gather()
        self.num_steps += 1
        beta1, beta2 = self.betas
        correction1 = 1 - beta1**self.num_steps
        correction2_sqrt = (1 - beta2**self.num_steps) ** 0.5
        for entry in self.entries:
            grad, master = entry.grad, entry.master
            if grad is None:
                continue
            rate = lr * entry.lr_scale
            master.mul_(1 - rate * entry.decay)
            entry.exp_avg.lerp_(grad, 1 - beta1)
            entry.exp_avg_sq.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
            denominator = (entry.exp_avg_sq.sqrt() / correction2_sqrt).add_(self.eps)
            master.addcdiv_(entry.exp_avg, denominator, value=-(rate / correction1))
            entry.write_back()

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for entry in self.entries:
            entry.param.grad = None
            entry.own_grad = None

    def num_trained(self) -> int:
        """How many numbers are trained."""
        return sum(entry.master.numel() for entry in self.entries)

    def state_dict(self) -> dict[str, Tensor]:
        """Everything to go on from, flat, for safetensors: `step`, and `NAME.exp_avg`, `.exp_avg_sq`, and where they
        exist `.master`, `.index`. The tensors are the optimiser's own, not copies."""
        tensors = {f"{entry.name}.{key}": value for entry in self.entries for key, value in entry.state().items()}
        return {"step": torch.tensor(self.num_steps, dtype=torch.int64), **tensors}

    def load_state_dict(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over a saved state; masters are rounded into the weights.

        Raises SeaError, before anything is changed, where it is not the state of this set of trained tensors.
        """
        mine = self.state_dict()
        if mine.keys() != tensors.keys():
            odd = sorted(mine.keys() ^ tensors.keys())
            raise SeaError(f"the optimiser state is of another set of trained tensors: {', '.join(odd[:3])}")
        for key, value in tensors.items():
            if value.shape != mine[key].shape or value.dtype != mine[key].dtype:
                raise SeaError(
                    f"the optimiser state has {key} as {value.dtype} {list(value.shape)}, "
                    f"the model needs {mine[key].dtype} {list(mine[key].shape)}"
                )
            if key.endswith(".index") and not torch.equal(value.to(mine[key].device), mine[key]):
                raise SeaError(f"the optimiser state was made for other rows or columns: {key}")
        self.num_steps = int(tensors["step"])
        for key, value in tensors.items():
            if key != "step":
                mine[key].copy_(value)
        for entry in self.entries:
            entry.write_back()


def _gradient_hook(entry: _Entry) -> Callable[[Tensor], None]:
    """A hook that feeds `entry` while its optimiser lives, and does nothing afterwards."""
    reference = weakref.ref(entry)

    def hook(_: Tensor) -> None:
        alive = reference()
        if alive is not None:
            alive.take_gradient()

    return hook


@torch.no_grad()
def clip_grad_norm(optimizer: MasterAdamW, max_norm: float | None) -> Tensor:
    """Scale the trained gradients so that their joint 2-norm is at most `max_norm` (None: only measure it).

    Returns the norm before clipping, a float32 scalar on the device of the gradients. It is infinite or NaN when a
    gradient is: the caller must look at it before `step`. Frozen weights and the unselected part of a weight do not
    count.
    """
    grads = optimizer.gather()
    if not grads:
        return torch.zeros(())
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(grad) for grad in grads]))
    if max_norm is not None:
        factor = (max_norm / (norm + 1e-6)).clamp(max=1.0)
        for grad in grads:
            grad.mul_(factor)
    return norm
