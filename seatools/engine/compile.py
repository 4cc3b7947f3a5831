"""torch.compile of each decoder block by itself: the blocks are alike, so one compilation serves all of them.

Compiling the whole model would take as much longer as it has blocks, and would not survive FSDP2's hooks between them.
Packed rows are of one length and have one number of document starts, so nothing is compiled again after the first
step, and torch is kept from trying symbolic shapes. Pairs of answers make rows of another length each time: for these
one compilation with symbolic shapes serves all. Evaluation has batches of every shape too, but no gradients: without
those the blocks run as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from seatools.engine.blocks import decoder_blocks
from seatools.streams.errors import SeaError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def compile_blocks(
    model: PreTrainedModel,
    announce: Callable[[], None] | None = None,
    *,
    lengths_vary: bool = False,
    backend: str = "inductor",
) -> None:
    """Compile the forward (and with it the backward) of each decoder block when it first runs with gradients.

    `announce` is called once, just before that. Blocks of different kinds (sliding window or not), and
    selections of different sizes, are compiled once each. Raises SeaError for an unknown architecture, or where there
    is no compiler.
    """
    blocks = decoder_blocks(model)
    if backend == "inductor" and model.device.type == "cpu":
        _check_compiler()
    # What differs between layers costs a compilation each; the limit of 8 would leave the others uncompiled, silently.
    limit = 4 * len(blocks) + 8
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, limit)
    if announce is not None:
        _call_once_before(blocks[0], announce)
    for block in blocks:
        compiled = torch.compile(block.forward, dynamic=lengths_vary, backend=backend)
        block.forward = _with_gradients(compiled, block.forward)


def _with_gradients(compiled: Callable[..., Any], plain: Callable[..., Any]) -> Callable[..., Any]:
    def forward(*arguments: Any, **named: Any) -> Any:
        return (compiled if torch.is_grad_enabled() else plain)(*arguments, **named)

    return forward


def _call_once_before(block: nn.Module, announce: Callable[[], None]) -> None:
    def hook(*_: Any) -> None:
        if torch.is_grad_enabled():
            handle.remove()
            announce()

    handle = block.register_forward_pre_hook(hook)


def _check_compiler() -> None:
    """torch writes C++ for a CPU: say at once, and not at the first step, that nothing can compile it."""
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler as error:
        raise SeaError(
            "torch.compile needs a C++ compiler, and there is none", fix="install g++, or leave --compile out"
        ) from error
