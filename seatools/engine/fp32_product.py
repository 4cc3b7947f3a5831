"""Matrix products of low-precision operands with an fp32 result, never rounded to the format of the operands.

A gradient that is summed over chunks of tokens or micro-batches loses its small terms where each one is rounded to bf16
(TRL, trl/kernels/chunked_logprob.py). CUDA multiplies bf16 into fp32 itself (`torch.mm(..., out_dtype=...)`); a CPU
needs fp32 operands, so there the smaller ones are widened before they are used often.
"""

from __future__ import annotations

import torch
from torch import Tensor


def operand(x: Tensor) -> Tensor:
    """`x` as an operand of `product`: itself on CUDA, fp32 on a CPU."""
    return x if x.is_cuda else x.float()


def product(a: Tensor, b: Tensor) -> Tensor:
    """a @ b [m, n] fp32; both are operands of one dtype."""
    return torch.mm(a, b) if a.dtype == torch.float32 else torch.mm(a, b, out_dtype=torch.float32)
