"""Training some rows or columns of a weight at the price of a frozen one.

Masking the gradients of full training saves neither time nor memory (GPS issue 6), and adding a sparse delta in the
forward pass still forms the dense weight gradient (peft's SHiRA). Here the forward is the plain product with the frozen
weight, and the backward computes the whole input gradient but the weight gradient of the chosen slice only: rows are
dY[:, rows]^T X, columns dY^T X[:, columns] with nothing but X[:, columns] kept (a Conv1D, as of GPT-2, has both
transposed). The slice lives in an fp32 leaf, `Selection.values`, that is its own master: it takes the gradients (summed
over micro-batches in fp32), the optimiser updates it, and `write_back` rounds it into the weight. No new parameter
enters the model or its state_dict.
Gradients are bit-equal to masked full training in fp32 up to 768 tokens a product (MKL, measured); beyond, MKL cuts the
sum over tokens by the shape of the result, and they differ by up to 2e-6 of the largest.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.distributed.tensor import DTensor

from seatools.engine.fp32_product import operand, product
from seatools.streams.errors import SeaError

_ATTRIBUTE = "_selected_parts"  # where an altered module keeps its selections: a plain object, so not in state_dict


@dataclass(frozen=True, eq=False)
class Selection:
    """The part `param.index_select(dim, index)` of a weight: the only part of it that is trained.

    `values` [fp32, the slice's shape] is the leaf that gets `.grad`, and the master. Raises ValueError for an index
    that is not ascending, distinct and within the weight.
    """

    name: str
    param: nn.Parameter
    dim: int
    index: Tensor  # [k] int64, ascending, distinct
    values: nn.Parameter = field(init=False, repr=False)

    def __post_init__(self) -> None:
        param, index = self.param, self.index
        if isinstance(param, DTensor):
            raise ValueError(f"{self.name} is sharded: parts of a weight are trained with whole weights on each device")
        if not 0 <= self.dim < param.ndim:
            raise ValueError(f"{self.name}: dimension {self.dim} of a weight with {param.ndim} dimensions")
        if index.ndim != 1 or index.dtype != torch.int64 or index.numel() == 0 or bool((index.diff() <= 0).any()):
            raise ValueError(f"{self.name}: the index must be int64 numbers, ascending and distinct, at least one")
        first, last, size = int(index[0]), int(index[-1]), param.shape[self.dim]
        if first < 0 or last >= size:
            wrong = first if first < 0 else last
            raise ValueError(f"{self.name}: index {wrong} is out of range: dimension {self.dim} has {size}")
        object.__setattr__(self, "index", index.to(param.device))
        part = param.detach().index_select(self.dim, self.index).to(torch.float32)
        object.__setattr__(self, "values", nn.Parameter(part))

    def stored(self) -> Tensor:
        """A copy of the slice as the model has it, in the dtype of the weight."""
        return self.param.detach().index_select(self.dim, self.index)

    @torch.no_grad()
    def write_back(self) -> None:
        """Round `values` into the weight; nothing else of it changes by a bit."""
        self.param.index_copy_(self.dim, self.index, self.values.to(self.param.dtype))


@dataclass
class SelectedParts:
    """What is trained of one module: rows or columns of its weight, entries of its bias."""

    weight: Selection | None = None
    bias: Selection | None = None


def selected_parts(module: nn.Module) -> SelectedParts:
    """What `select` has chosen of `module`; both None where that is nothing."""
    return cast(SelectedParts, getattr(module, _ATTRIBUTE, None) or SelectedParts())


def select(model: nn.Module, chosen: Iterable[tuple[str, int, Tensor]]) -> list[tuple[str, Selection]]:
    """Train these parts of `model`: (parameter name, dim, index int64 [k] ascending), each parameter at most once.

    Freezes the chosen parameters (their gradients go to the selections) and no others, and gives the Linear, Conv1D
    or Embedding that owns each one a forward that feeds its selection. A tied weight is one selection, fed by all its
    owners. `remove` undoes it. Rows are dim 0 of a weight, columns dim 1 (of a Conv1D the other way round), bias
    entries dim 0 of a bias.
    Raises ValueError for a wrong index, SeaError for a parameter that cannot be trained in part; before any change.
    """
    names = {name: param for name, param in model.named_parameters(remove_duplicate=False)}
    first_names = {id(param): name for name, param in model.named_parameters()}
    made: list[Selection] = []
    owned: list[tuple[nn.Module, str, Selection]] = []
    for name, dim, index in chosen:
        if name not in names:
            raise SeaError(f'{type(model).__name__} has no parameter "{name}"')
        param = names[name]
        selection = Selection(first_names[id(param)], param, dim, index)
        owners = [
            (module, attribute)
            for module in model.modules()
            for attribute, own in module.named_parameters(recurse=False, remove_duplicate=False)
            if own is param
        ]
        for module, attribute in owners:
            _check_owner(module, attribute, selection)
            taken = getattr(selected_parts(module), attribute, None)
            if taken is not None or any(module is m and attribute == a for m, a, _ in owned):
                raise SeaError(
                    f"{name} is chosen twice", fix="one selection a weight: either its rows or its columns, all at once"
                )
            owned.append((module, attribute, selection))
        made.append(selection)
    for module, attribute, selection in owned:
        if not hasattr(module, _ATTRIBUTE):
            setattr(module, _ATTRIBUTE, SelectedParts())
            module.__class__ = _altered_class(type(module))
        setattr(selected_parts(module), attribute, selection)
        selection.param.requires_grad_(False)
    return [(selection.name, selection) for selection in made]


def remove(model: nn.Module) -> None:
    """Undo `select`: every module is of its own class again. Weights stay as they are, and frozen."""
    for module in model.modules():
        if hasattr(module, _ATTRIBUTE):
            module.__class__ = _plain_class(module)
            delattr(module, _ATTRIBUTE)


def _check_owner(module: nn.Module, attribute: str, selection: Selection) -> None:
    kind, name = _plain_class(module), selection.name
    if kind is nn.Linear or _is_conv1d(kind):
        return
    if not issubclass(kind, nn.Embedding) or attribute != "weight":
        what = f"{name} belongs to a {kind.__name__}: only parts of a plain Linear, Conv1D or Embedding can be trained"
        raise SeaError(what, fix="train it whole, or leave it out")
    embedding = cast(nn.Embedding, module)
    if selection.dim != 0:
        raise SeaError(f"{name} is an embedding: it has rows to train, one a token, and no columns")
    if embedding.max_norm is not None or embedding.scale_grad_by_freq or embedding.sparse:
        raise SeaError(f"{name}: an embedding with max_norm, scale_grad_by_freq or sparse gradients is not handled")
    if kind is nn.Embedding:
        return
    # Gemma's embedding multiplies its rows by a constant. A subclass is taken if it is seen to do that and no more.
    with torch.no_grad():
        ids = torch.arange(min(8, embedding.num_embeddings), device=embedding.weight.device)[None]
        plain = embedding.weight[ids] * _scale(embedding)
        if not torch.equal(embedding(ids), plain):
            raise SeaError(f"{name}: {kind.__name__} does more than look rows up and scale them: it is not handled")


def _scale(embedding: nn.Module) -> Tensor | float:
    """The constant that Gemma's embedding multiplies by, in the dtype of its weight; 1 for others."""
    scale: Any = getattr(embedding, "embed_scale", 1.0)
    return scale.to(cast(Tensor, embedding.weight).dtype) if isinstance(scale, Tensor) else float(scale)


def _is_conv1d(kind: type) -> bool:
    """By name: transformers need not be imported for it."""
    return kind.__name__ == "Conv1D" and kind.__module__ == "transformers.pytorch_utils"


class _SelectedLinear(nn.Linear):
    plain = nn.Linear

    def forward(self, input: Tensor) -> Tensor:
        return _multiply(self, input, 0)


def _multiply(module: Any, x: Tensor, row_dim: int) -> Tensor:
    parts = selected_parts(module)
    values, index = (parts.weight.values, parts.weight.index) if parts.weight is not None else (None, None)
    entries, places = (parts.bias.values, parts.bias.index) if parts.bias is not None else (None, None)
    of_rows = parts.weight is None or parts.weight.dim == row_dim
    out = _ProductPart.apply(x, module.weight, module.bias, values, index, entries, places, of_rows, row_dim)
    return cast(Tensor, out)


class _SelectedEmbedding(nn.Embedding):
    plain = nn.Embedding

    def forward(self, input: Tensor) -> Tensor:
        return _embed(self, input)


def _embed(module: nn.Embedding, ids: Tensor) -> Tensor:
    part = selected_parts(module).weight
    assert part is not None
    return cast(Tensor, _EmbeddingRows.apply(ids, module.weight, part.values, part.index, module.padding_idx))


_altered: dict[type, type] = {nn.Linear: _SelectedLinear, nn.Embedding: _SelectedEmbedding}


def _altered_class(kind: type) -> type:
    """The class that feeds selections and is otherwise `kind`: its subclass, so that isinstance holds."""
    if kind not in _altered:

        def embed(self: nn.Embedding, input: Tensor) -> Tensor:
            return _embed(self, input) * _scale(self)

        def multiply(self: nn.Module, x: Tensor) -> Tensor:
            return _multiply(self, x, 1)

        forward = multiply if _is_conv1d(kind) else embed
        _altered[kind] = type(f"_Selected{kind.__name__}", (kind,), {"plain": kind, "forward": forward})
    return _altered[kind]


def _plain_class(module: nn.Module) -> type:
    return cast(type, getattr(type(module), "plain", type(module)))


def pair(index: Tensor) -> Tensor:
    """`index`, or twice its number where it has only one: a product with one row is another routine of BLAS (gemv),
    which adds in another order, and would not be bit-equal to that row of a whole product."""
    return index.expand(2) if len(index) == 1 else index


class _ProductPart(torch.autograd.Function):
    """x W^T + b, with gradients for x and for the chosen parts of W and b (and for whole ones that are trained).

    `row_dim`: the dimension of W's output features, 1 of a Conv1D; `of_rows`: the chosen part of W is of these.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        values: Tensor | None,
        index: Tensor | None,
        entries: Tensor | None,
        places: Tensor | None,
        of_rows: bool,
        row_dim: int,
    ) -> Tensor:
        kept = None  # what the weight's gradient needs of x
        if ctx.needs_input_grad[1] or (index is not None and of_rows):
            kept = x
        elif index is not None:
            kept = x.index_select(-1, pair(index))
        ctx.save_for_backward(kept, weight, index, places)
        ctx.of_rows, ctx.row_dim, ctx.shape = of_rows, row_dim, x.shape
        if row_dim == 0:
            return F.linear(x, weight, bias)
        assert bias is not None  # as Conv1D.forward
        return torch.addmm(bias, x.reshape(-1, x.shape[-1]), weight).view(*x.shape[:-1], weight.shape[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        kept, weight, index, places = ctx.saved_tensors
        grad = grad.reshape(-1, grad.shape[-1])
        of_x = of_weight = of_bias = of_values = of_entries = None
        if ctx.needs_input_grad[0]:
            of_x = torch.mm(grad, weight.t() if ctx.row_dim else weight).view(ctx.shape)
        if kept is not None:
            kept = kept.reshape(len(grad), -1)
        if ctx.needs_input_grad[1]:
            of_weight = torch.mm(kept.t(), grad) if ctx.row_dim else torch.mm(grad.t(), kept)
        if ctx.needs_input_grad[2] or ctx.needs_input_grad[5]:
            # Of all entries even if few are chosen: cheap beside the products, and the order of adding stays the same.
            total = grad.sum(0, dtype=torch.float32)
            of_bias = total.to(grad.dtype) if ctx.needs_input_grad[2] else None
            of_entries = total.index_select(0, places) if ctx.needs_input_grad[5] else None
        if ctx.needs_input_grad[3]:
            if ctx.of_rows:
                grad = grad.index_select(1, pair(index))
            of_values = _weight_gradient(grad, kept, ctx.row_dim)
            if len(index) == 1:  # a pair stood in for it
                of_values = of_values.narrow(ctx.row_dim if ctx.of_rows else 1 - ctx.row_dim, 0, 1)
        return of_x, of_weight, of_bias, of_values, None, of_entries, None, None, None


def _weight_gradient(grad: Tensor, x: Tensor, row_dim: int) -> Tensor:
    """fp32, in the order of the weight's dimensions; products as torch's own backward has them, for equal bits."""
    if row_dim == 1:
        return product(operand(x).t(), operand(grad))
    return product(operand(grad).t(), operand(x))


class _EmbeddingRows(torch.autograd.Function):
    """The rows of `ids`, with a gradient for the chosen rows of the table."""

    @staticmethod
    def forward(
        ctx: Any, ids: Tensor, weight: Tensor, values: Tensor, index: Tensor, padding_idx: int | None
    ) -> Tensor:
        ctx.save_for_backward(ids, index)
        ctx.padding_idx = padding_idx
        return F.embedding(ids, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        ids, index = ctx.saved_tensors
        k = len(index)
        place = torch.searchsorted(index, ids).clamp_(max=k - 1)
        hit = index[place] == ids
        if ctx.padding_idx is not None:  # whose row nn.Embedding never trains
            hit &= ids != ctx.padding_idx
        # All else goes to row k, which the kernel skips as its padding: fixed shapes, no synchronisation, and on CUDA
        # the same sums in the same order each time, unlike index_add_.
        place = torch.where(hit, place, k)
        rows = torch.ops.aten.embedding_dense_backward(grad.float(), place, k + 1, k, False)
        return None, None, rows[:k], None, None
