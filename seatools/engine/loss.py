"""The log-probability of each trained token, without the logits of all tokens.

Full logits are the largest tensor of a training step: 8,192 tokens x 152k pieces in fp32 are 5 GB, and several copies
of it live at once. Here the decoder gives hidden states, only those that predict a trained token are kept, and head and
log-sum-exp run over chunks of tokens with the logits in fp32. Log-probabilities for any use (DPO) store one number a
token and some chunks; the backward pass computes the logits of the others again. The summed cross entropy knows its
upstream gradient up to a factor, so it takes its gradients while it has the logits: three products with the head
instead of four, at the price of holding the head's gradient from the forward pass on. That gradient is summed over
chunks in fp32, because rounding each chunk to bf16 biases it (TRL, trl/kernels/chunked_logprob.py), and is skipped for
a frozen head; of a head of which some rows are trained (`selected.py`) it is made for those rows only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from seatools.engine.attention import documents_apart
from seatools.engine.fp32_product import operand as _operand
from seatools.engine.fp32_product import product as _matmul
from seatools.engine.rows import Batch
from seatools.engine.selected import Selection, pair, selected_parts
from seatools.streams.errors import SeaError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Elements of one chunk of fp32 logits. CPU: 32 MiB, but 128 tokens at least, as fewer read the head too often (measured
# at 32k pieces: 64 tokens 1.09 s of CPU time, 128 0.95, 256 0.86, 1,024 0.85). GPU: 1 GiB keeps the product wide enough
# (1,766 tokens at 152k pieces) that reading and writing the fp32 sum of the head's gradient does not dominate.
CHUNK_ELEMENTS_CPU, CHUNK_TOKENS_CPU = 1 << 23, 128
CHUNK_ELEMENTS_GPU = 1 << 28
# Elements of the chunks' probabilities that log-probabilities keep for their backward pass, which then has three
# products with the head in place of four: one pair of answers of 100 tokens at 152k pieces, or 1,000 tokens at 32k.
KEPT_ELEMENTS_CPU, KEPT_ELEMENTS_GPU = 1 << 25, 1 << 28


@dataclass(frozen=True)
class Head:
    """How a model turns hidden states into logits: cap * tanh(scale * (h W^T + b) / cap), or without the cap."""

    weight: Tensor  # [V, D]
    bias: Tensor | None  # [V]
    scale: float
    softcap: float | None
    rows: Selection | None = None  # of the weight, where only these are trained
    entries: Selection | None = None  # of the bias


@dataclass(frozen=True)
class StepLoss:
    """The loss of a batch, in nats, whole and of each trained target, in row-major order of the batch."""

    total: Tensor  # scalar float32, differentiable: the sum of `nll`
    nll: Tensor  # [n] float32, without a gradient
    row: Tensor  # [n] int64: the target is batch.input_ids[row, column]
    column: Tensor  # [n] int64


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
    parts = selected_parts(linear)
    if parts.weight is not None and parts.weight.dim != 0:
        raise SeaError(f"{parts.weight.name}: the output head has rows to train, one a token, and no columns")
    return Head(linear.weight, linear.bias, scale, float(softcap) if softcap else None, parts.weight, parts.bias)


def forward_hidden(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Last hidden states [B, T, D] of the decoder, after its final norm; documents do not see each other."""
    decoder: Any = model.get_decoder()
    if decoder is model:  # get_decoder's lookup fails for a few classes, Llama 4 among them
        decoder = model.model
    with documents_apart(model, batch) as more:
        outputs = decoder(input_ids=batch.input_ids, position_ids=batch.position_ids, use_cache=False, **more)
    return outputs.last_hidden_state


def target_log_probs(
    model: PreTrainedModel, batch: Batch, *, chunk_tokens: int | None = None, in_place: bool = False
) -> LogProbs:
    """log p(token | the tokens before it in its document) for each trained target of `batch`, differentiable.

    `loss_mask[b, t]` marks the token at t, predicted from the hidden state at t - 1. The first token of a document
    (position 0) never counts. `in_place` as in `linear_log_probs`.
    """
    row, column = (batch.loss_mask & (batch.position_ids > 0)).nonzero(as_tuple=True)
    hidden = forward_hidden(model, batch)[row, column - 1]
    targets = batch.input_ids[row, column]
    values = linear_log_probs(hidden, targets, head_of(model), chunk_tokens=chunk_tokens, in_place=in_place)
    return LogProbs(values, row, column)


def batch_loss(
    model: PreTrainedModel, batch: Batch, *, chunk_tokens: int | None = None, factor: float | None = None
) -> StepLoss:
    """-log p of each trained target of `batch`, and their differentiable sum, in nats. `factor` as in `linear_losses`.

    A sum and not a mean: the caller divides by the targets of the whole optimiser step, so that cutting a step into
    micro-batches or over devices never changes the loss.
    """
    row, column = (batch.loss_mask & (batch.position_ids > 0)).nonzero(as_tuple=True)
    hidden = forward_hidden(model, batch)[row, column - 1]
    targets = batch.input_ids[row, column]
    total, nll = linear_losses(hidden, targets, head_of(model), chunk_tokens=chunk_tokens, factor=factor)
    return StepLoss(total, nll, row, column)


def summed_loss(model: PreTrainedModel, batch: Batch, *, chunk_tokens: int | None = None) -> tuple[Tensor, int]:
    """(-sum log p over the trained targets, how many they are), in nats: the total of `batch_loss`."""
    loss = batch_loss(model, batch, chunk_tokens=chunk_tokens)
    return loss.total, len(loss.row)


def linear_loss(hidden: Tensor, targets: Tensor, head: Head, *, chunk_tokens: int | None = None) -> Tensor:
    """-sum of `linear_log_probs`, a scalar fp32, whose gradients are ready when it is."""
    return linear_losses(hidden, targets, head, chunk_tokens=chunk_tokens)[0]


def linear_losses(
    hidden: Tensor, targets: Tensor, head: Head, *, chunk_tokens: int | None = None, factor: float | None = None
) -> tuple[Tensor, Tensor]:
    """(`linear_loss`, its terms [n] fp32 without a gradient).

    With `factor`, which must be what the loss is multiplied by before `backward`, the gradient of an fp32 head goes
    into its `.grad` here and now, and no second matrix of its size is held until the backward pass.
    """
    hidden = hidden.to(head.weight.dtype)
    chunk_tokens = chunk_tokens or _chunk_tokens(hidden, head)
    trained = _trained(hidden, head)
    # Inside a Function gradients are off: whether they will be wanted is asked here.
    wanted = tuple(torch.is_grad_enabled() and x is not None and x.requires_grad for x in trained)
    into = None
    if factor is not None and wanted[1] and head.weight.dtype == torch.float32:
        if head.weight.grad is None:
            head.weight.grad = torch.zeros_like(head.weight)
        into = head.weight.grad, factor
        trained, wanted = (hidden, head.weight.detach(), *trained[2:]), (wanted[0], False, *wanted[2:])
    loss, nll = _SummedLoss.apply(*trained, targets, head, chunk_tokens, wanted, into)
    return loss, nll


def linear_log_probs(
    hidden: Tensor, targets: Tensor, head: Head, *, chunk_tokens: int | None = None, in_place: bool = False
) -> Tensor:
    """Log-probabilities [n] fp32 of `targets` [n] int64 under `head`, from `hidden` [n, D].

    With `in_place` the backward pass adds the gradient of an fp32 head to its `.grad` as it goes, and no second matrix
    of its size is made; autograd then sees no gradient of it.
    """
    hidden = hidden.to(head.weight.dtype)
    chunk_tokens = chunk_tokens or _chunk_tokens(hidden, head)
    trained = _trained(hidden, head)
    into = None
    if in_place and torch.is_grad_enabled() and head.weight.requires_grad and head.weight.dtype == torch.float32:
        into = head.weight
        trained = (hidden, into.detach(), *trained[2:])
    learns = torch.is_grad_enabled() and (into is not None or any(x is not None and x.requires_grad for x in trained))
    kept = (KEPT_ELEMENTS_GPU if hidden.is_cuda else KEPT_ELEMENTS_CPU) if learns and head.softcap is None else 0
    values = _TargetLogProbs.apply(*trained, targets, head, chunk_tokens, into, kept // head.weight.shape[0])
    assert isinstance(values, Tensor)
    return values


def _chunk_tokens(hidden: Tensor, head: Head) -> int:
    vocabulary = head.weight.shape[0]
    if hidden.is_cuda:
        return max(1, CHUNK_ELEMENTS_GPU // vocabulary)
    return max(CHUNK_TOKENS_CPU, CHUNK_ELEMENTS_CPU // vocabulary)


def _trained(hidden: Tensor, head: Head) -> tuple[Tensor | None, ...]:
    """What may want a gradient, in the order of `_Gradients`."""
    rows, entries = (None if part is None else part.values for part in (head.rows, head.entries))
    return hidden, head.weight, head.bias, rows, entries


def chunk_logits(hidden: Tensor, weight: Tensor, bias: Tensor | None, scale: float, softcap: float | None) -> Tensor:
    """fp32 logits [m, V] of one chunk; `hidden` and `weight` are operands."""
    logits = _matmul(hidden, weight.t())
    if bias is not None:
        logits += bias
    if scale != 1.0:
        logits *= scale
    if softcap is not None:
        logits.div_(softcap).tanh_().mul_(softcap)
    return logits


def _nll_in_place(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(-log p [m] of `target` [m, 1], log-sum-exp [m], shares [m, V] of the probabilities, their sums [m, 1]).

    The shares take the place of the logits, which torch.logsumexp would make a copy of (78 MB a chunk at 152k pieces).
    """
    of_target, highest = logits.gather(1, target), logits.amax(1, keepdim=True)
    shares = logits.sub_(highest).exp_()
    total = shares.sum(1, keepdim=True)
    log_total = total.log()
    return (log_total + (highest - of_target))[:, 0], (log_total + highest)[:, 0], shares, total


class _Gradients:
    """The gradients of what is `wanted` of `_trained`, summed over chunks of tokens; all but hidden's in fp32."""

    def __init__(
        self, hidden: Tensor, head: Head, wanted: Sequence[bool], into: tuple[Tensor, float] | None = None
    ) -> None:
        def zeros(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=torch.float32, device=hidden.device)

        vocabulary, width = head.weight.shape
        self.head = head
        self.hidden = torch.empty_like(hidden) if wanted[0] else None
        self.weight = zeros(vocabulary, width) if wanted[1] else None
        self.bias = zeros(vocabulary) if wanted[2] or wanted[4] else None
        self.rows, self.index = None, None
        if wanted[3] and head.rows is not None:
            self.index = pair(head.rows.index)
            self.rows = zeros(len(self.index), width)
        self.wanted, self.into = wanted, into

    def add(self, part: slice, grad: Tensor, hidden: Tensor, weight: Tensor) -> None:
        """Take in the gradient [m, V] fp32 of a chunk's scaled logits; `hidden` and `weight` are its operands."""
        if self.head.scale != 1.0:
            grad *= self.head.scale
        if self.bias is not None:
            self.bias += grad.sum(0)
        grad = grad.to(weight.dtype)
        if self.hidden is not None:
            self.hidden[part].copy_(torch.mm(grad, weight))
        if self.weight is not None:
            _add_product(self.weight, grad.t(), hidden)
        if self.into is not None:
            self.into[0].addmm_(grad.t(), hidden, alpha=self.into[1])
        if self.rows is not None and self.index is not None:
            _add_product(self.rows, grad.index_select(1, self.index).t(), hidden)

    def each(self) -> tuple[Tensor | None, ...]:
        """As they are wanted, in fp32 but for hidden's."""
        head = self.head
        rows = self.rows[: len(head.rows.index)] if self.rows is not None and head.rows is not None else None
        bias = self.bias if self.wanted[2] else None
        entries = None
        if self.wanted[4] and self.bias is not None and head.entries is not None:
            entries = self.bias.index_select(0, head.entries.index)
        return self.hidden, self.weight, bias, rows, entries


def _add_product(total: Tensor, a: Tensor, b: Tensor) -> None:
    """total += a @ b in fp32."""
    if a.dtype == torch.float32:
        total.addmm_(a, b)
    else:
        total += _matmul(a, b)


class _TargetLogProbs(torch.autograd.Function):
    """Linear head + log-softmax + gather, in chunks of tokens; the backward recomputes those that were not kept."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, rows: Tensor | None, entries: Tensor | None,
        targets: Tensor, head: Head, chunk_tokens: int, into: Tensor | None, kept_tokens: int,
    ) -> Tensor:  # fmt: skip
        lse = torch.empty(len(targets), dtype=torch.float32, device=hidden.device)
        values = torch.empty_like(lse)
        w = _operand(weight)
        ctx.kept = {}  # start of a chunk -> its probabilities
        for start in range(0, len(targets), chunk_tokens):
            part = slice(start, start + chunk_tokens)
            logits = chunk_logits(_operand(hidden[part]), w, bias, head.scale, head.softcap)
            nll, lse[part], shares, total = _nll_in_place(logits, targets[part, None])
            values[part] = -nll
            if len(shares) <= kept_tokens:
                kept_tokens -= len(shares)
                ctx.kept[start] = shares.div_(total)
            del logits, shares  # or the next chunk would be made beside this one
        ctx.save_for_backward(hidden, weight, bias, targets, lse)
        ctx.head, ctx.chunk_tokens, ctx.into = head, chunk_tokens, into
        ctx.dtypes = tuple(None if x is None else x.dtype for x in (hidden, weight, bias, rows, entries))
        return values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, targets, lse = ctx.saved_tensors
        head, into = ctx.head, None
        if ctx.into is not None:
            if ctx.into.grad is None:
                ctx.into.grad = torch.zeros_like(ctx.into)
            into = ctx.into.grad, 1.0
        gradients = _Gradients(hidden, head, ctx.needs_input_grad[:5], into)
        w = _operand(weight)
        for start in range(0, len(targets), ctx.chunk_tokens):
            part = slice(start, start + ctx.chunk_tokens)
            h, slope = _operand(hidden[part]), None
            grad = ctx.kept.pop(start, None)
            if grad is None:
                grad = chunk_logits(h, w, bias, head.scale, head.softcap)
                if head.softcap is not None:  # d cap*tanh(z/cap) / dz = 1 - (y/cap)^2
                    slope = 1 - (grad / head.softcap).square_()
                grad.sub_(lse[part, None]).exp_()
            g = upstream[part, None]
            # d log p_target / d logit_v = [v is the target] - p_v
            grad.mul_(-g).scatter_add_(1, targets[part, None], g)
            if slope is not None:
                grad.mul_(slope)
            gradients.add(part, grad, h, w)
            del grad
        each = zip(gradients.each(), ctx.dtypes, strict=True)
        found = (None if gradient is None else gradient.to(dtype) for gradient, dtype in each)
        return (*found, None, None, None, None, None)


class _SummedLoss(torch.autograd.Function):
    """Linear head + cross entropy, summed, in chunks of tokens; the gradients are made with the logits at hand."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, rows: Tensor | None, entries: Tensor | None,
        targets: Tensor, head: Head, chunk_tokens: int, wanted: tuple[bool, ...], into: tuple[Tensor, float] | None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        nll = torch.empty(len(targets), dtype=torch.float32, device=hidden.device)
        gradients = _Gradients(hidden, head, wanted, into)
        w = _operand(weight)
        for start in range(0, len(targets), chunk_tokens):
            part = slice(start, start + chunk_tokens)
            h = _operand(hidden[part])
            logits = chunk_logits(h, w, bias, head.scale, head.softcap)
            target = targets[part, None]
            # d cap*tanh(z/cap) / dz = 1 - (y/cap)^2, for all y before they are overwritten
            learns = into is not None or any(wanted)
            slope = None if head.softcap is None or not learns else 1 - (logits / head.softcap).square_()
            nll[part], _, grad, total = _nll_in_place(logits, target)
            if learns:
                grad /= total
                grad.scatter_add_(1, target, torch.full_like(total, -1.0))  # p_v - [v is the target]
                if slope is not None:
                    grad *= slope
                gradients.add(part, grad, h, w)
            del logits, grad
        ctx.gradients = gradients.each()
        ctx.dtypes = tuple(None if x is None else x.dtype for x in (hidden, weight, bias, rows, entries))
        ctx.mark_non_differentiable(nll)
        return nll.sum(), nll

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.gradients is None:
            raise RuntimeError("the gradients of this loss were taken once already; compute it again")
        gradients, ctx.gradients = ctx.gradients, None
        scaled = (
            None if gradient is None else gradient.mul_(upstream).to(dtype)
            for gradient, dtype in zip(gradients, ctx.dtypes, strict=True)
        )
        return (*scaled, None, None, None, None, None)
