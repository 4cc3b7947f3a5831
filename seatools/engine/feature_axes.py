"""Linear and Conv1D read alike: which axis of a projection's weight is its output, which its input.

transformers' Conv1D (GPT-2) is a Linear with its weight transposed, [in, out].
"""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn


def is_conv1d(module: nn.Module) -> bool:
    """Whether `module` is transformers' Conv1D, or a class of it that trains selected parts."""
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, Conv1D)


def is_projection(module: nn.Module) -> bool:
    """Whether `module` is a Linear or a Conv1D."""
    return isinstance(module, nn.Linear) or is_conv1d(module)


def row_dim(module: nn.Module) -> int:
    """The dimension of its weight that holds output features; the other one holds input features."""
    return 1 if is_conv1d(module) else 0


def out_features(module: nn.Module) -> int:
    """How many numbers it gives."""
    return int(cast(Any, module).weight.shape[row_dim(module)])


def in_features(module: nn.Module) -> int:
    """How many numbers it takes."""
    return int(cast(Any, module).weight.shape[1 - row_dim(module)])


def row_parameters(module: nn.Module) -> int:
    """Parameters of one output feature, its bias entry included."""
    return in_features(module) + (getattr(module, "bias", None) is not None)


def weight_matrix(module: nn.Module) -> Tensor:
    """Its weight as [out, in]."""
    weight: Tensor = cast(Any, module).weight
    return weight.t() if row_dim(module) else weight
