"""Matrix products of the decoder blocks in fp8, through torchao: an extra, imported only when asked for.

One scale a tensor, computed as it is used (torchao's "tensorwise" default): published gains are 17 to 25 % of a step
at 8B on H100 with torch.compile, and a loss without it (torchtitan benchmarks; nanochat LOG, 0.23 x). Weights, their
masters and the loss head stay as they are, and so does a layer whose sizes are not multiples of 16, as fp8 kernels ask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from seatools.engine.blocks import decoder_blocks
from seatools.streams.errors import SeaError
from seatools.streams.extras import require

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def use_fp8(model: PreTrainedModel, *, emulate: bool = False) -> int:
    """Turn the linear layers of the decoder blocks into fp8 ones, in place; how many they were.

    `emulate` rounds to fp8 and multiplies in the ordinary format: slow, but on any device.
    Raises SeaError without torchao, on a device without fp8 products, or where no layer has sizes that fit.
    """
    if not emulate:
        check_fp8(model.device)
    require("torchao")
    from torchao.float8 import Float8LinearConfig, convert_to_float8_training

    fits = 0

    def chosen(module: nn.Module, name: str) -> bool:
        nonlocal fits
        fit = isinstance(module, nn.Linear) and module.in_features % 16 == 0 and module.out_features % 16 == 0
        fits += fit
        return fit

    for block in decoder_blocks(model):
        convert_to_float8_training(block, module_filter_fn=chosen, config=Float8LinearConfig(emulate=emulate))
    if not fits:
        raise SeaError(f"{type(model).__name__}: no linear layer has sizes that are multiples of 16, as fp8 needs")
    return fits


def check_fp8(device: torch.device) -> None:
    """Raise SeaError for a device whose matrix products know no fp8."""
    if device.type != "cuda":
        raise SeaError(f"fp8 needs a CUDA device; this is {device.type}", fix="leave --fp8 out")
    if torch.cuda.get_device_capability(device) < (8, 9):
        name = torch.cuda.get_device_name(device)
        raise SeaError(f"{name} has no fp8 products; Ada (8.9), Hopper (9.0) and later have", fix="leave --fp8 out")
