"""AdamW with fp32 masters, also for chosen rows or columns of a weight; and Muon for the weights that are to have it.

A pure bf16 update is mostly lost: at lr 1e-5 only 15 % of weights around 0.02 change at all, because the step is less
than half the distance to the next bf16 number. So each bf16 or fp16 weight has an fp32 master that takes the update and
is rounded into the weight afterwards. Its gradients are summed over micro-batches in fp32 too: a hook takes each one as
soon as the backward pass has finished it and frees the bf16 original. fp32 weights, also those that FSDP2 has sharded,
are their own masters; so are the values of a `Selection`. Memory: 16 B a trained bf16 element, 12 B (gradient included)
an fp32 one, 4 B less with moments in bf16.
The update is torch's own fused AdamW (Loshchilov & Hutter, arXiv 1711.05101): 14 ms for 11 M numbers on one core, where
the same arithmetic operation by operation takes 48.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim.adamw import adamw

from seatools.engine.muon import muon_update
from seatools.engine.selected import Selection
from seatools.engine.trained_entry import TrainedEntry
from seatools.streams.errors import SeaError

__all__ = ["MasterAdamW", "Selection", "clip_grad_norm"]

# Numbers widened to fp32 at a time (256 MiB each of weights, gradients and moments) where they are kept narrower.
WIDENED = 1 << 26
FINGERPRINTED = 1 << 20


class MasterAdamW:
    """AdamW over named parameters and selections of parameters; see the module's text.

    `trained`: (name, Parameter or Selection) pairs, a parameter at most once. `lr_scales`: name -> factor on the
    learning rate (1 where absent). `decays(name, param)` says which tensors are decayed: by default those with two
    or more dimensions, so no norms and biases. `state_dtype`: of the moments; bf16 needs betas of at most 0.99, for a
    change below 1 part in 256 is lost. `masters=False` updates low-precision weights directly, without masters and with
    gradients summed in their format: see `measure_unchanged`. `muon`: names of 2-D parameters that Muon updates.
    A tensor without a gradient is left alone by `step`.
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
        state_dtype: torch.dtype = torch.float32,
        masters: bool = True,
        muon: frozenset[str] = frozenset(),
    ) -> None:
        if not (0 <= betas[0] < 1 and 0 <= betas[1] < 1 and eps > 0 and weight_decay >= 0):
            raise ValueError(f"betas {betas}, eps {eps}, weight decay {weight_decay} are out of range")
        if state_dtype not in (torch.float32, torch.bfloat16):
            raise ValueError(f"moments in {state_dtype}: float32 or bfloat16")
        if state_dtype == torch.bfloat16 and max(betas) > 0.99:
            raise ValueError(f"betas {betas}: moments in bfloat16 would never fade, they need 0.99 or less")
        scales = dict(lr_scales or {})
        self.betas, self.eps = betas, eps
        self.num_steps = 0
        self.entries: list[TrainedEntry] = []
        seen: set[int] = set()
        names: set[str] = set()
        for name, target in trained:
            param = target.param if isinstance(target, Selection) else target
            if id(param) in seen or name in names:
                raise ValueError(f"{name} is given twice")
            if isinstance(target, nn.Parameter) and not target.requires_grad:
                raise ValueError(f"{name} does not require a gradient")
            seen.add(id(param))
            names.add(name)
            decay = weight_decay if decays(name, param) else 0.0
            factor = scales.pop(name, 1.0)
            self.entries.append(
                TrainedEntry(
                    name, target, decay=decay, lr_scale=factor, state_dtype=state_dtype, masters=masters,
                    muon=name in muon,
                )
            )  # fmt: skip
        if not self.entries:
            raise ValueError("nothing to train")
        if scales:
            raise ValueError(f"learning-rate factors for tensors that are not trained: {', '.join(sorted(scales))}")
        if muon - names:
            raise ValueError(f"Muon for tensors that are not trained: {', '.join(sorted(muon - names))}")
        for entry in self.entries:
            if entry.own_master is not None:
                entry.param.register_post_accumulate_grad_hook(_gradient_hook(entry))
        self._measuring = False
        self._unchanged: tuple[Tensor, Tensor] | None = None

    def gather(self) -> list[Tensor]:
        """The gradients of the trained entries that have one, local parts of sharded ones; takes in any that a hook
        has not seen. fp32, but in the format of the weights for low-precision weights without masters."""
        for entry in self.entries:
            entry.take_gradient()
        return [grad for entry in self.entries if (grad := entry.grad) is not None]

    def replicated_gradients(self) -> list[Tensor]:
        """The gradients of everything that is not sharded, for a data-parallel caller to sum over ranks in place.

        One for each entry and in the same order on every rank: where there was no gradient it is now zero.
        """
        self.gather()
        return [entry.grad_or_zero() for entry in self.entries if not entry.is_sharded]

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """One update with learning rate `lr` (times each entry's factor)."""
        self.gather()
        self.num_steps += 1
        ready = [entry for entry in self.entries if entry.grad is not None]
        counts: list[tuple[Tensor, Tensor]] = []
        for run in _runs([entry for entry in ready if entry.momentum is None]):
            before = [entry.stored() for entry in run] if self._measuring else []
            self._adamw(run, lr * run[0].lr_scale)
            counts += [entry.unchanged(old) for entry, old in zip(run, before, strict=False)]
        for entry in ready:
            if entry.momentum is not None:
                old = entry.stored() if self._measuring else None
                self._muon(entry, lr * entry.lr_scale)
                counts += [] if old is None else [entry.unchanged(old)]
        if self._measuring and counts:
            same, moved = zip(*counts, strict=True)
            self._unchanged = torch.stack(same).sum(), torch.stack(moved).sum()
            self._measuring = False

    def _adamw(self, run: Sequence[TrainedEntry], rate: float) -> None:
        operands = zip(*(entry.operands() for entry in run), strict=True)
        weights, grads, firsts, seconds = ([x.float() for x in part] for part in operands)
        device = weights[0].device
        # Views of one tensor: the function counts each of its steps up by 1, in place.
        steps = torch.full((len(run),), float(self.num_steps - 1), device=device).unbind()
        adamw(
            weights, grads, firsts, seconds, [], list(steps), fused=True, amsgrad=False, beta1=self.betas[0],
            beta2=self.betas[1], lr=rate, weight_decay=run[0].decay, eps=self.eps, maximize=False,
        )  # fmt: skip
        for entry, weight, first, second in zip(run, weights, firsts, seconds, strict=True):
            entry.keep(weight, {"exp_avg": first, "exp_avg_sq": second})

    def _muon(self, entry: TrainedEntry, rate: float) -> None:
        assert entry.momentum is not None and entry.grad is not None
        weight, momentum = entry.master.float(), entry.momentum.float()
        update = muon_update(entry.grad.float(), momentum, entry.param)
        weight.mul_(1 - rate * entry.decay).add_(update, alpha=-rate)
        entry.keep(weight, {"momentum": momentum})

    def measure_unchanged(self) -> None:
        """Make the next `step` count the trained weights that it leaves as they were, to the bit, although their
        gradient is not zero: `unchanged_share` has the result. Costs a copy of the weights it updates at a time."""
        self._measuring = True

    @property
    def unchanged_share(self) -> float | None:
        """The share measured last, of the weights with a gradient; of this rank's part of sharded weights."""
        if self._unchanged is None:
            return None
        same, moved = (int(count) for count in self._unchanged)
        return same / moved if moved else 0.0

    def fingerprint(self) -> float:
        """A number that changes when any trained weight does: the sum of absolute values in float64, of this rank's
        part of sharded weights."""
        # In blocks: the sum widens what it reads, 125 MB for an embedding of 16 M numbers (measured).
        blocks = (
            block for entry in self.entries for block in entry.stored(copy=False).reshape(-1).split(FINGERPRINTED)
        )
        return float(sum(torch.linalg.vector_norm(block, ord=1, dtype=torch.float64) for block in blocks))

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for entry in self.entries:
            entry.zero_grad()

    def num_trained(self) -> int:
        """How many numbers are trained, over all ranks."""
        return sum(entry.numel for entry in self.entries)

    def state_dict(self) -> dict[str, Tensor]:
        """Everything to go on from, flat, for safetensors: `step`, and of each trained tensor `NAME.exp_avg` and
        `.exp_avg_sq`, or `.momentum` with Muon, and where they exist `.master`, `.index`. The tensors are the
        optimiser's own, not copies; those of a sharded parameter are DTensors like it."""
        tensors = {f"{entry.name}.{key}": value for entry in self.entries for key, value in entry.state().items()}
        return {"step": torch.tensor(self.num_steps, dtype=torch.int64), **tensors}

    @torch.no_grad()
    def load_state_dict(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over a saved state; masters are rounded into the weights. Whole tensors are cut for sharded parameters.

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
            own = mine[key]
            if key == "step":
                continue
            if isinstance(own, DTensor) and not isinstance(value, DTensor):
                value = distribute_tensor(value.to(own.device), own.device_mesh, own.placements, src_data_rank=None)
            own.copy_(value)
        for entry in self.entries:
            entry.write_back()


def _runs(entries: Sequence[TrainedEntry]) -> Iterator[list[TrainedEntry]]:
    """The entries in runs that one call updates: of one device, rate and decay, and not too many widened at a time."""
    groups: dict[tuple[object, ...], list[list[TrainedEntry]]] = {}
    for entry in entries:
        runs = groups.setdefault((entry.master.device, entry.lr_scale, entry.decay), [[]])
        if runs[-1] and sum(e.widened for e in runs[-1]) + entry.widened > WIDENED:
            runs.append([])
        runs[-1].append(entry)
    return (run for runs in groups.values() for run in runs)


def _gradient_hook(entry: TrainedEntry) -> Callable[[Tensor], None]:
    """A hook that feeds `entry` while its optimiser lives, and does nothing afterwards."""
    reference = weakref.ref(entry)

    def hook(_: Tensor) -> None:
        alive = reference()
        if alive is not None:
            alive.take_gradient()

    return hook


@torch.no_grad()
def clip_grad_norm(
    optimizer: MasterAdamW, max_norm: float | None, sum_over_ranks: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """Scale the trained gradients so that their joint 2-norm is at most `max_norm` (None: only measure it).

    Returns the norm before clipping, a float32 scalar on the device of the gradients. It is infinite or NaN when a
    gradient is: the caller must look at it before `step`. Frozen weights and the unselected part of a weight do not
    count. `sum_over_ranks` (with sharded parameters) adds up a scalar over the ranks: the squares of sharded gradients
    are added so, those of replicated ones, which every rank has whole, count once.
    """
    grads = optimizer.gather()
    norm = _norm(grads)
    if sum_over_ranks is not None and any(entry.is_sharded for entry in optimizer.entries):
        sharded = _norm([g for entry in optimizer.entries if entry.is_sharded and (g := entry.grad) is not None])
        whole = _norm([g for entry in optimizer.entries if not entry.is_sharded and (g := entry.grad) is not None])
        norm = (sum_over_ranks(sharded.square()) + whole.to(sharded.device).square()).sqrt()
    if max_norm is not None and grads:
        factor = (max_norm / (norm + 1e-6)).clamp(max=1.0)
        torch._foreach_mul_(grads, factor)
    return norm


def _norm(grads: list[Tensor]) -> Tensor:
    if not grads:
        return torch.zeros(())
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads, 2.0, torch.float32)))
