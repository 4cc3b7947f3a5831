"""Muon: momentum whose matrix is made orthogonal before it is applied, for the 2-D weights inside a decoder.

The update of a weight is U V^T of its momentum's singular value decomposition, approached by five Newton-Schulz steps
(Jordan, github.com/KellerJordan/Muon; singular values above 0.003 end at 0.68 to 1.21, which does no harm). Scaled by
0.2 * sqrt(longer side) its root mean square is that of an AdamW update, so the same learning rate and decay serve both
(Liu et al., arXiv 2502.16982, section 2.2). Embeddings, head, norms and biases stay with AdamW. One momentum buffer
instead of two moments. A sharded weight gathers its update, makes it orthogonal on every device, keeps its own part.
The iteration is in bf16 on CUDA, as published, and in fp32 on a CPU, where units for bf16 are rare (a Xeon with them
takes 14 ms for 688 x 256 in fp32 and 3 in bf16, on one core).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, Replicate

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MOMENTUM = 0.95
_STEPS = 5
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # x -> a x + b x^3 + c x^5, the steepest start that stays bounded


def muon_names(model: PreTrainedModel) -> frozenset[str]:
    """The parameters of `model` that Muon is for: the weights of its Linear layers, but not of the output head."""
    head = model.get_output_embeddings()
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    linears = (module for module in model.modules() if isinstance(module, nn.Linear) and module is not head)
    tied = {id(module.weight) for module in (head, model.get_input_embeddings()) if module is not None}
    return frozenset(names[id(linear.weight)] for linear in linears if id(linear.weight) not in tied)


def orthogonal(matrix: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """The nearest matrix with (nearly) orthonormal rows or columns to `matrix` [A, B], in `dtype`."""
    a, b, c = _COEFFICIENTS
    wide = matrix.to(dtype or (torch.bfloat16 if matrix.is_cuda else torch.float32))
    tall = wide.shape[0] > wide.shape[1]
    if tall:  # the Gram matrix is of the shorter side
        wide = wide.T
    wide = wide / wide.norm().clamp(min=1e-7)  # its largest singular value is now at most 1
    for _ in range(_STEPS):
        gram = wide @ wide.T
        wide = torch.addmm(wide, torch.addmm(gram, gram, gram, beta=b, alpha=c), wide, beta=a)
    return wide.T if tall else wide


def muon_update(grad: Tensor, momentum: Tensor, like: Tensor) -> Tensor:
    """What a step of rate 1 subtracts from a weight, fp32, of the shape of `grad`; `momentum` fp32 is updated.

    `like` is the parameter. Where it is sharded, `grad` and `momentum` are the local part, and every rank must call.
    """
    momentum.lerp_(grad, 1 - MOMENTUM)
    update = grad.lerp(momentum, MOMENTUM)  # Nesterov's look ahead
    scale = 0.2 * max(like.shape) ** 0.5
    if not isinstance(like, DTensor):
        return orthogonal(update).float() * scale
    whole = DTensor.from_local(
        update, like.device_mesh, like.placements, run_check=False, shape=like.shape, stride=like.stride()
    ).full_tensor()
    part = DTensor.from_local(orthogonal(whole), like.device_mesh, [Replicate()], run_check=False)
    return part.redistribute(placements=like.placements).to_local().float() * scale
