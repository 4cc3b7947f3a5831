"""The log-probability of each trained token, without the logits of all tokens.

Full logits are the largest tensor of a training step: 8,192 tokens x 152k pieces in fp32 are 5 GB, and several copies
of it live at once. Here the decoder gives hidden states, only those that predict a trained token are kept, and head and
log-sum-exp run over chunks of tokens with the logits in fp32. Log-probabilities for any use (DPO) store one number a
token, and the backward pass computes each chunk's logits again. The summed cross entropy knows its upstream gradient up
to a factor, so it takes its gradients while it has the logits: three products with the head instead of four, at the
price of holding the head's gradient from the forward pass on. That gradient is summed over chunks in fp32, because
rounding each chunk to bf16 biases it (TRL, trl/kernels/chunked_logprob.py), and is skipped for a frozen head.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from seatools.engine.rows import Batch
from seatools.streams.errors import SeaError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Elements of one chunk of fp32 logits: 64 MiB stays near a CPU's caches; 1 GiB keeps a GPU's matrix product wide
# enough (1,766 tokens at 152k pieces) that reading and writing the fp32 sum of the head's gradient does not dominate.
CHUNK_ELEMENTS_CPU = 1 << 24
CHUNK_ELEMENTS_GPU = 1 << 28


@dataclass(frozen=True)
class Head:
    """How a model turns hidden states into logits: cap * tanh(scale * (h W^T + b) / cap), or without the cap."""

    weight: Tensor  # [V, D]
    bias: Tensor | None  # [V]
    scale: float
    softcap: float | None


@dataclass(frozen=True)
class LogProbs:
    """Natural-log probabilities of the trained targets, in row-major order of the batch."""

    values: Tensor  # [n] float32, differentiable
    row: Tensor  # [n] int64: the target is batch.input_ids[row, column]
    column: Tensor  # [n] int64


def head_of(model: PreTrainedModel) -> Head:
    """The output head of `model`. Raises SeaError where it is not one linear layer."""
    linear = model.get_output_embeddings()
    if not isinstance(linear, nn.Linear):
        raise SeaError(f"{type(model).__name__}: its output head is {type(linear).__name__}, not one linear layer")
    config: Any = model.config.get_text_config()
    scale = 1.0
    if getattr(config, "logit_scale", None) is not None:  # Cohere
        scale = float(config.logit_scale)
    elif getattr(config, "logits_scaling", None) is not None:  # Granite divides; HyperCLOVA X multiplies
        granite = config.model_type.startswith("granite")
        scale = 1.0 / float(config.logits_scaling) if granite else float(config.logits_scaling)
    softcap = getattr(config, "final_logit_softcapping", None)  # Gemma 2 and later
    return Head(linear.weight, linear.bias, scale, float(softcap) if softcap else None)


def forward_hidden(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Last hidden states [B, T, D] of the decoder, after its final norm; documents do not see each other."""
    decoder: Any = model.get_decoder()
    if decoder is model:  # get_decoder's lookup fails for a few classes, Llama 4 among them
        decoder = model.model
    outputs = decoder(input_ids=batch.input_ids, position_ids=batch.position_ids, use_cache=False)
    return outputs.last_hidden_state


def target_log_probs(model: PreTrainedModel, batch: Batch, *, chunk_tokens: int | None = None) -> LogProbs:
    """log p(token | the tokens before it in its document) for each trained target of `batch`, differentiable.

    `loss_mask[b, t]` marks the token at t, predicted from the hidden state at t - 1. The first token of a document
    (position 0) never counts.
    """
    row, column = (batch.loss_mask & (batch.position_ids > 0)).nonzero(as_tuple=True)
    hidden = forward_hidden(model, batch)[row, column - 1]
    values = linear_log_probs(hidden, batch.input_ids[row, column], head_of(model), chunk_tokens=chunk_tokens)
    return LogProbs(values, row, column)


def summed_loss(model: PreTrainedModel, batch: Batch, *, chunk_tokens: int | None = None) -> tuple[Tensor, int]:
    """(-sum log p over the trained targets, how many they are), in nats.

    A sum and not a mean: the caller divides by the targets of the whole optimiser step, so that cutting a step into
    micro-batches or over devices never changes the loss.
    """
    row, column = (batch.loss_mask & (batch.position_ids > 0)).nonzero(as_tuple=True)
    hidden = forward_hidden(model, batch)[row, column - 1]
    return linear_loss(hidden, batch.input_ids[row, column], head_of(model), chunk_tokens=chunk_tokens), len(row)


def linear_loss(hidden: Tensor, targets: Tensor, head: Head, *, chunk_tokens: int | None = None) -> Tensor:
    """-sum of `linear_log_probs`, a scalar fp32, whose gradients are ready when it is."""
    hidden = hidden.to(head.weight.dtype)
    chunk_tokens = chunk_tokens or _chunk_tokens(hidden, head)
    # Inside a Function gradients are off: whether they will be wanted is asked here.
    wanted = tuple(
        torch.is_grad_enabled() and x is not None and x.requires_grad for x in (hidden, head.weight, head.bias)
    )
    loss = _SummedLoss.apply(hidden, head.weight, head.bias, targets, head.scale, head.softcap, chunk_tokens, wanted)
    assert isinstance(loss, Tensor)
    return loss


def linear_log_probs(hidden: Tensor, targets: Tensor, head: Head, *, chunk_tokens: int | None = None) -> Tensor:
    """Log-probabilities [n] fp32 of `targets` [n] int64 under `head`, from `hidden` [n, D]."""
    hidden = hidden.to(head.weight.dtype)
    chunk_tokens = chunk_tokens or _chunk_tokens(hidden, head)
    values = _TargetLogProbs.apply(hidden, head.weight, head.bias, targets, head.scale, head.softcap, chunk_tokens)
    assert isinstance(values, Tensor)
    return values


def _chunk_tokens(hidden: Tensor, head: Head) -> int:
    elements = CHUNK_ELEMENTS_GPU if hidden.is_cuda else CHUNK_ELEMENTS_CPU
    return max(1, elements // head.weight.shape[0])


def _operand(x: Tensor) -> Tensor:
    """`x` as an operand of `_matmul`: CUDA multiplies bf16 into fp32 itself, a CPU needs fp32 operands for it."""
    return x if x.is_cuda else x.float()


def _matmul(a: Tensor, b: Tensor) -> Tensor:
    """a @ b with an fp32 result, never rounded to the format of the operands."""
    return torch.mm(a, b) if a.dtype == torch.float32 else torch.mm(a, b, out_dtype=torch.float32)


def _logits(hidden: Tensor, weight: Tensor, bias: Tensor | None, scale: float, softcap: float | None) -> Tensor:
    """fp32 logits [m, V] of one chunk; `hidden` and `weight` are operands."""
    logits = _matmul(hidden, weight.t())
    if bias is not None:
        logits += bias
    if scale != 1.0:
        logits *= scale
    if softcap is not None:
        logits.div_(softcap).tanh_().mul_(softcap)
    return logits


def _add_gradients(
    grad: Tensor, hidden: Tensor, weight: Tensor, scale: float, into: tuple[Tensor | None, Tensor | None, Tensor | None]
) -> None:
    """What the gradient [m, V] fp32 of a chunk's scaled logits gives hidden (set), weight and bias (added, in fp32)."""
    of_hidden, of_weight, of_bias = into
    if scale != 1.0:
        grad *= scale
    if of_bias is not None:
        of_bias += grad.sum(0)
    grad = grad.to(weight.dtype)
    if of_hidden is not None:
        of_hidden.copy_(torch.mm(grad, weight))
    if of_weight is None:
        return
    if hidden.dtype == torch.float32:
        of_weight.addmm_(grad.t(), hidden)
    else:
        of_weight += _matmul(grad.t(), hidden)


class _TargetLogProbs(torch.autograd.Function):
    """Linear head + log-softmax + gather, in chunks of tokens; the backward recomputes each chunk."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        scale: float,
        softcap: float | None,
        chunk_tokens: int,
    ) -> Tensor:
        lse = torch.empty(len(targets), dtype=torch.float32, device=hidden.device)
        values = torch.empty_like(lse)
        w = _operand(weight)
        for start in range(0, len(targets), chunk_tokens):
            part = slice(start, start + chunk_tokens)
            logits = _logits(_operand(hidden[part]), w, bias, scale, softcap)
            lse[part] = torch.logsumexp(logits, dim=-1)
            values[part] = logits.gather(1, targets[part, None])[:, 0] - lse[part]
        ctx.save_for_backward(hidden, weight, bias, targets, lse)
        ctx.scale, ctx.softcap, ctx.chunk_tokens = scale, softcap, chunk_tokens
        return values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, targets, lse = ctx.saved_tensors
        need_hidden, need_weight, need_bias = ctx.needs_input_grad[:3]
        grad_hidden = torch.empty_like(hidden) if need_hidden else None
        grad_weight = torch.zeros_like(weight, dtype=torch.float32) if need_weight else None
        grad_bias = torch.zeros_like(bias, dtype=torch.float32) if need_bias else None
        w = _operand(weight)
        for start in range(0, len(targets), ctx.chunk_tokens):
            part = slice(start, start + ctx.chunk_tokens)
            h = _operand(hidden[part])
            logits = _logits(h, w, bias, ctx.scale, ctx.softcap)
            g = upstream[part, None]
            # d log p_target / d logit_v = [v is the target] - p_v
            grad = (logits - lse[part, None]).exp_().mul_(-g)
            grad.scatter_add_(1, targets[part, None], g)
            if ctx.softcap is not None:  # d cap*tanh(z/cap) / dz = 1 - (y/cap)^2
                grad.mul_(1 - (logits / ctx.softcap).square_())
            into = (None if grad_hidden is None else grad_hidden[part], grad_weight, grad_bias)
            _add_gradients(grad, h, w, ctx.scale, into)
        return (
            grad_hidden,
            None if grad_weight is None else grad_weight.to(weight.dtype),
            None if grad_bias is None else grad_bias.to(bias.dtype),
            None,
            None,
            None,
            None,
        )


class _SummedLoss(torch.autograd.Function):
    """Linear head + cross entropy, summed, in chunks of tokens; the gradients are made with the logits at hand."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        scale: float,
        softcap: float | None,
        chunk_tokens: int,
        wanted: tuple[bool, ...],
    ) -> Tensor:
        need_hidden, need_weight, need_bias = wanted
        loss = torch.zeros((), dtype=torch.float32, device=hidden.device)
        grad_hidden = torch.empty_like(hidden) if need_hidden else None
        grad_weight = torch.zeros_like(weight, dtype=torch.float32) if need_weight else None
        grad_bias = torch.zeros_like(weight[:, 0], dtype=torch.float32) if need_bias else None
        w = _operand(weight)
        for start in range(0, len(targets), chunk_tokens):
            part = slice(start, start + chunk_tokens)
            h = _operand(hidden[part])
            logits = _logits(h, w, bias, scale, softcap)
            target = targets[part, None]
            loss -= logits.gather(1, target).sum()
            # d cap*tanh(z/cap) / dz = 1 - (y/cap)^2, for all y before they are overwritten
            slope = None if softcap is None or not any(wanted) else 1 - (logits / softcap).square_()
            highest = logits.amax(1, keepdim=True)
            grad = logits.sub_(highest).exp_()
            total = grad.sum(1, keepdim=True)
            loss += (total.log() + highest).sum()
            if not any(wanted):
                continue
            grad /= total
            grad.scatter_add_(1, target, torch.full_like(total, -1.0))  # p_v - [v is the target]
            if slope is not None:
                grad *= slope
            into = (None if grad_hidden is None else grad_hidden[part], grad_weight, grad_bias)
            _add_gradients(grad, h, w, scale, into)
        ctx.gradients = (grad_hidden, grad_weight, grad_bias)
        ctx.dtypes = (hidden.dtype, weight.dtype, weight.dtype if bias is None else bias.dtype)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.gradients is None:
            raise RuntimeError("the gradients of this loss were taken once already; compute it again")
        gradients, ctx.gradients = ctx.gradients, None
        scaled = (
            None if gradient is None else gradient.mul_(upstream).to(dtype)
            for gradient, dtype in zip(gradients, ctx.dtypes, strict=True)
        )
        return (*scaled, None, None, None, None, None)
