"""The decoder blocks of a model: what is recomputed, compiled and turned into fp8, one by one.

A block is told by its class: transformers (5.x) derives every layer that can be recomputed from one base. Altering a
block means giving it another `forward` and not wrapping it in a module, so that names in checkpoints, FSDP2's hooks
and whatever else holds the module stay as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from seatools.streams.errors import SeaError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def decoder_blocks(model: PreTrainedModel) -> list[nn.Module]:
    """The decoder blocks of `model`, in order. Raises SeaError, naming the architecture, where there are none."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    decoder: Any = model.get_decoder()
    blocks: list[nn.Module] = []
    inside: set[nn.Module] = set()
    for module in decoder.modules():  # parents before their children
        if isinstance(module, GradientCheckpointingLayer) and module not in inside:
            blocks.append(module)
            inside.update(module.modules())
    if not blocks:
        raise SeaError(f"{type(model).__name__} ({model.config.model_type}) has no decoder blocks that are known")
    return blocks
