"""Several processes on one model: its weights shared out (FSDP2), or whole on each with the gradients added up.

Full training shares fp32 weights and moments, each decoder layer a unit that is gathered (in bf16 where that is the
format) while it is used; embedding, head and final norm belong to the root. The head's weight is read outside its
module, by the loss, so the loss is computed inside the root's forward (`LossModule`); and a tied embedding is then in
one unit with the head, without which torch 2.13 raises. An untied embedding is a unit of its own, so that its gradient
need not wait for the end. Gradients are summed, never averaged: each rank divides by the targets of the whole step.
Selections (neurons, new rows) keep the whole frozen weights on every device and add up their slices' gradients in one
flat buffer, which is what DDP would do; a few MB a step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from seatools.engine.blocks import decoder_blocks
from seatools.engine.loss import LogProbs, StepLoss, batch_loss, target_log_probs
from seatools.engine.optimise import MasterAdamW
from seatools.engine.rows import Batch
from seatools.engine.tensor_rows import is_shared
from seatools.engine.world import World

if TYPE_CHECKING:
    from torch.distributed.fsdp import FSDPModule
    from transformers import PreTrainedModel


class LossModule(nn.Module):
    """`LossModule(model)(batch)` is `batch_loss(model, batch)`, as a module that FSDP2 can be the root of."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, batch: Batch, factor: float | None = None, each: bool = False, in_place: bool = False
    ) -> tuple[Tensor, ...]:
        """What `__call__` puts together: FSDP2 before 2.13 finds no tensors in a dataclass to hang its hooks on."""
        if each:
            found = target_log_probs(self.model, batch, in_place=in_place)
            return found.values, found.row, found.column
        loss = batch_loss(self.model, batch, factor=factor)
        return loss.total, loss.nll, loss.row, loss.column

    def __call__(self, batch: Batch, factor: float | None = None) -> StepLoss:
        """The loss of `batch`; on every rank, with as many batches on each. `factor`: see `add_in_place`."""
        return StepLoss(*super().__call__(batch, factor))

    def target_log_probs(self, batch: Batch, *, in_place: bool = False) -> LogProbs:
        """`target_log_probs` of the model, differentiable, for losses of whole answers; on every rank, as `__call__`.

        `in_place`, where `add_in_place` has said so: the head's gradient goes straight to where it is summed.
        """
        return LogProbs(*super().__call__(batch, None, True, in_place))

    def add_in_place(self) -> bool:
        """Whether calls may have `factor` or `in_place`, and if so, let the embedding add its rows in place.

        For fp32 weights that no FSDP2 has shared out: then neither head nor embedding makes a gradient as large as
        the vocabulary beside the one it is added to (Qwen2 of 87 M, 152k pieces: 2.65 GB at its peak before).
        """
        model: Any = self.model
        weights = [module.weight for module in (model.get_input_embeddings(), model.get_output_embeddings())]
        if any(weight.dtype != torch.float32 or is_shared(weight) for weight in weights):
            return False
        if weights[0].requires_grad:
            model.get_input_embeddings().sparse = True
        return True

    def begin(self) -> None:
        """Before the first backward pass of a step: a dense gradient for the embedding's rows to be added to."""
        weight: Any = self.model.get_input_embeddings().weight  # type: ignore[operator]
        if weight.requires_grad and weight.grad is None:
            weight.grad = torch.zeros_like(weight)

    def log_probs(self, model: PreTrainedModel, batch: Batch) -> LogProbs:
        """`target_log_probs` without gradients, for evaluating a model that is shared."""
        with torch.no_grad():
            loss = self(batch)
        # FSDP2 keeps the root whole after its forward pass, for the backward that is to come and does not here: to a
        # save its parameters would then be plain tensors, in the format that they are multiplied in.
        cast("FSDPModule", self).reshard()
        return LogProbs(-loss.nll, loss.row, loss.column)


def shard(root: LossModule, world: World, dtype: torch.dtype) -> None:
    """Share the weights of `root.model` out over the ranks, in fp32; they are multiplied in `dtype`.

    Parameters are other objects afterwards (DTensors): ask the model for them again, by their names. Weights may be
    on the CPU: each layer is moved by itself, so that no device ever holds the whole model.
    Raises SeaError for a model whose blocks are not known. Recomputation and compilation of blocks come before.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

    assert world.device is not None
    model: Any = root.model
    policy = MixedPrecisionPolicy()
    if dtype != torch.float32:
        policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
    mesh = init_device_mesh(world.device.type, (world.size,))
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    units = [*decoder_blocks(model), *([embedding] if embedding.weight is not head.weight else []), root]
    for unit in units:
        for parameter in unit.parameters():  # here, so that no more than a unit is widened before it is cut
            if not is_shared(parameter):
                parameter.data = parameter.data.float()
        fully_shard(unit, mesh=mesh, mp_policy=policy)
    for module in root.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)  # a plain sum: gloo knows no sum of scaled terms


def add_gradients(optimizer: MasterAdamW, world: World) -> None:
    """Sum the gradients of everything that is whole on each rank, in one message; nothing to do for shared weights."""
    if world.size == 1:
        return
    grads = optimizer.replicated_gradients()
    if not grads:
        return
    flat = world.sum(torch.cat([grad.reshape(-1) for grad in grads]))
    for grad, total in zip(grads, flat.split([grad.numel() for grad in grads]), strict=True):
        grad.copy_(total.view_as(grad))


def unshared_copy(model: PreTrainedModel, world: World, dtype: torch.dtype) -> PreTrainedModel | None:
    """A plain copy of a shared model on the CPU, its weights in `dtype`, to be exported; None on all but the main rank.

    Every rank calls it. Tensors are gathered one by one; the main rank needs host memory for the model in `dtype`.
    """
    whole: dict[int, Tensor | None] = {}  # by the identity of the parameter, so that tied ones stay one
    tensors: dict[str, Tensor | None] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in whole:
            gathered = _whole(tensor)
            gathered = gathered.to(dtype) if gathered.is_floating_point() else gathered
            whole[id(tensor)] = gathered if world.is_main else None
        tensors[name] = whole[id(tensor)]
    if not world.is_main:
        return None
    kind: Any = type(model)
    with torch.device("meta"):
        copy = kind(model.config)
    copy.load_state_dict(tensors, assign=True)
    copy.tie_weights()
    copy.generation_config = model.generation_config
    plain: PreTrainedModel = copy.eval()
    return plain


def _whole(tensor: Any) -> Tensor:
    tensor = tensor.detach()
    whole: Tensor = tensor.full_tensor() if is_shared(tensor) else tensor
    return whole.cpu()
