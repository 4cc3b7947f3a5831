"""Attention inside each document of packed rows, without a mask as large as the row squared.

`sea_varlen` is registered with transformers as an attention implementation. While `documents_apart` runs, its mask
function answers with the starts of the documents and the sliding window in place of a mask; every architecture hands
that on to the attention of each layer as it would a mask, also into recomputation and compiled blocks. Without document
starts (generation, a cache, padded rows) it is transformers' sdpa, mask and all. On a CPU each document runs through
the fused causal kernel, one operator for torch.compile and for selective recomputation; one that continues another
(`rows.Continued`) looks at the prompt in a second call, merged by log-sum-exp. Forward and backward of a 40 M Llama
(one core, interleaved with sdpa, documents of 100 to 300 tokens): 1.1 times as fast in rows of 512 tokens, 1.3 in rows
of 1024, 1.0 with one document a row. On CUDA it is torch's varlen flash attention in half precision; fp32 takes sdpa's
mask, as no such kernel has fp32, and so does torch 2.11, whose function knows no groups of query heads.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from seatools.engine.rows import Batch, Continued

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NAME = "sea_varlen"
_BLOCK = 128  # fewest queries that one call takes of a document longer than the sliding window
_LAYERS = {"full_attention", "sliding_attention"}


class Documents(NamedTuple):
    """What stands in the place of a mask: where the documents of B rows of T tokens begin, laid end to end."""

    starts: Tensor  # int32 [N + 1], from 0 to B * T, never decreasing; the last ones repeat B * T to keep N fixed
    window: int  # how many tokens back a token sees, itself among them; 0: all of its document
    continued: Continued | None = None


_apart: ContextVar[tuple[Tensor, Continued | None] | None] = ContextVar("documents kept apart", default=None)


def register() -> None:
    """Make `sea_varlen` known to transformers (which is slow to import, and so waits until it is needed)."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, _mask)


def can_keep_apart(model: PreTrainedModel) -> bool:
    """Whether `sea_varlen` knows the masks of all layers: causal, sliding windows, scores not capped.

    What it does not look at (sinks, layers that are not attention) `check_soundness` refuses.
    """
    config: Any = model.config.get_text_config(decoder=True)
    known = set(getattr(config, "layer_types", None) or ()) <= _LAYERS
    capped = getattr(config, "attn_logit_softcapping", None)
    return known and not capped and getattr(config, "attention_chunk_size", None) is None


@contextmanager
def documents_apart(model: PreTrainedModel, batch: Batch) -> Iterator[dict[str, Any]]:
    """Within it the decoder of `model` keeps the documents of `batch` apart; yields what its forward needs besides.

    NotImplementedError for documents that continue others, where the attention is another than `sea_varlen`.
    """
    name = model.config.get_text_config(decoder=True)._attn_implementation
    if batch.continued is not None and (name != NAME or batch.input_ids.shape[0] != 1):
        raise NotImplementedError(f"{name} attention knows no documents that continue others")
    if name in ("sdpa", "eager"):  # these find the documents from the positions
        yield {}
        return
    starts = batch.flat_starts()
    if name != NAME:  # transformers' flash attention; given no lengths it would look for them on the device
        width = batch.input_ids.shape[1]
        yield {"cu_seq_lens_q": starts, "cu_seq_lens_k": starts, "max_length_q": width, "max_length_k": width}
        return
    token = _apart.set((starts, batch.continued))
    try:
        yield {}
    finally:
        _apart.reset(token)


def _mask(**arguments: Any) -> Documents | Tensor | None:
    """transformers' mask function of `sea_varlen`: called with keywords, once a forward pass for each kind of layer."""
    apart, window = _apart.get(), arguments.get("local_size")
    config, device = arguments["config"], arguments["device"]
    plain = (
        apart is not None
        and arguments.get("attention_mask") is None
        and not arguments.get("use_vmap")  # a mask of the architecture's own
        and window in (None, getattr(config, "sliding_window", None))
        and arguments["q_length"] == arguments["kv_length"]
        and (device.type == "cpu" or (device.type == "cuda" and _has_kernel(arguments["dtype"])))
    )
    if not plain:
        if apart is not None and apart[1] is not None:  # a mask by positions would show one answer to the other
            raise NotImplementedError(f"{NAME} attention has no kernel for shared prompts here ({device.type})")
        from transformers.masking_utils import sdpa_mask

        return sdpa_mask(**arguments)
    assert apart is not None
    return Documents(apart[0], window or 0, apart[1])


def _has_kernel(dtype: torch.dtype) -> bool:
    """Whether torch's varlen attention takes `dtype` and the arguments that it is given here (since 2.12)."""
    from torch.nn.attention.varlen import varlen_attn

    half = dtype in (torch.bfloat16, torch.float16)
    return half and "enable_gqa" in inspect.signature(varlen_attn).parameters


def _attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Documents | Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **arguments: Any,
) -> tuple[Tensor, None]:
    """transformers' attention function: query [B, H, T, d], key and value [B, H / g, T, d] -> [B, T, H, d]."""
    if not isinstance(attention_mask, Documents):
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **arguments
        )
    odd = [name for name in ("softcap", "s_aux", "position_bias") if arguments.get(name) is not None]
    if dropout or odd:
        raise NotImplementedError(f"{NAME} attention has no {odd[0] if odd else 'dropout'}")
    if query.shape[-1] != value.shape[-1]:
        raise NotImplementedError(f"{NAME} attention needs keys and values of one size")
    return document_attention(query, key, value, attention_mask, scaling), None


def document_attention(
    query: Tensor, key: Tensor, value: Tensor, documents: Documents, scale: float | None = None
) -> Tensor:
    """Causal attention within each document: query [B, H, T, d], key and value [B, H / g, T, d] -> [B, T, H, d].

    `scale` multiplies the scores; None is d ** -0.5. Differentiable in the three; fp32 on a CPU, half on both.
    """
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    starts, window, continued = documents
    if not query.is_cuda:
        return _attend(query, key, value, starts, None if continued is None else continued.prompts, window, scale)[0]
    from torch.nn.attention.varlen import varlen_attn

    batch, _, width, _ = query.shape
    q, k, v = (x.transpose(1, 2).flatten(0, 1) for x in (query, key, value))
    key_starts = starts
    if continued is not None:  # causal counts from the last query and the last key of a document
        k, v, key_starts = k[continued.seen], v[continued.seen], continued.seen_starts
    out = varlen_attn(  # the longest document is only a bound on the grid: a constant, so that nothing is recompiled
        q, k, v, starts, key_starts, width, width, scale=scale, window_size=(window - 1, 0), enable_gqa=True
    )
    assert isinstance(out, Tensor)
    return out.unflatten(0, (batch, width))


class _Piece(NamedTuple):
    """One call of the kernel: these rows and queries look at these keys."""

    rows: slice
    queries: slice
    keys: slice
    nearer: int | None = None
    """Of a prompt that a document continues: by how much its keys are nearer than their places. None: its own keys."""


def _pieces(starts: Tensor, prompts: Tensor | None, shape: torch.Size, window: int) -> Iterator[_Piece]:
    """Cut B rows of T tokens so that each piece is causal from its first key, or, in a window, has fewer keys.

    A document that continues another is a piece that looks at itself, and then one that looks at the prompt.
    """
    batch, width = shape[0], shape[2]
    every = starts.tolist()
    if every[0] != 0 or every[-1] != batch * width:
        raise ValueError(f"the documents end at {every[-1]}, {batch} rows of {width} tokens at {batch * width}")
    continues = [0] * (len(every) - 1) if prompts is None else prompts.tolist()
    places = [
        (place, prompt) for (place, after), prompt in zip(pairwise(every), continues, strict=True) if after > place
    ]
    whole_rows = [place for place, _ in places] == list(range(0, batch * width, width))
    if whole_rows and prompts is None and not 0 < window < width:  # one document a row
        yield _Piece(slice(None), slice(None), slice(None))
        return
    before = 0
    for (first, prompt), (after, _) in pairwise([*places, (batch * width, 0)]):
        row, start = divmod(first, width)
        end = after - row * width
        if end > width:
            raise ValueError("a document runs over the end of its row")
        rows = slice(row, row + 1)
        if 0 < window < end - start:
            step = max(window, _BLOCK)
            for at in range(start, end, step):
                stop = min(at + step, end)
                yield _Piece(rows, slice(at, stop), slice(max(start, at - window + 1), stop))
        else:
            yield _Piece(rows, slice(start, end), slice(start, end))
        if prompt:
            if before + prompt > start:
                raise ValueError("a document continues more than the one before it")
            reach = min(end, start + window - 1) if window else end  # of queries that see the prompt's last token
            seen = max(0, prompt - window + 1) if window else 0
            if reach > start:
                yield _Piece(rows, slice(start, reach), slice(before + seen, before + prompt), start - before - prompt)
        before = start


def _parts(piece: _Piece, query: Tensor, key: Tensor, value: Tensor, window: int) -> tuple[list[Tensor], Tensor | None]:
    """The query, key and value of a piece, and its mask (in the format of the query) where causal does not say it."""
    rows, queries, keys, nearer = piece
    q, k, v = query[rows, :, queries], key[rows, :, keys], value[rows, :, keys]
    if nearer is None:
        plain = q.shape[2] == k.shape[2] and not 0 < window < q.shape[2]
    else:  # the last query is farthest from the first key
        plain = not 0 < window <= queries.stop - 1 - keys.start - nearer
    if plain:
        return [q, k, v], None
    place = torch.arange(queries.start, queries.stop)[:, None] - torch.arange(keys.start, keys.stop) - (nearer or 0)
    mask = torch.zeros(place.shape, dtype=q.dtype).masked_fill_((place < 0) | (place >= window), float("-inf"))
    return [q, k, v], mask


def _lse_dtype(query: Tensor) -> torch.dtype:
    return torch.float64 if query.dtype == torch.float64 else torch.float32


@torch.library.custom_op("sea::document_attention", mutates_args=(), device_types="cpu")
def _attend(
    query: Tensor, key: Tensor, value: Tensor, starts: Tensor, prompts: Tensor | None, window: int, scale: float
) -> tuple[Tensor, Tensor]:
    """(attention [B, T, H, d], log-sum-exp of the scores [B, H, T], at least fp32), document by document."""
    batch, heads, width, size = query.shape
    kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    pieces = list(_pieces(starts, prompts, query.shape, window))
    if len(pieces) == 1:
        found, lse = kernel(query, key, value, 0.0, True, scale=scale)
        return found.transpose(1, 2).contiguous(), lse.contiguous()
    out = query.new_empty(batch, width, heads, size)
    lse = query.new_empty(batch, heads, width, dtype=_lse_dtype(query))
    for piece in pieces:
        parts, mask = _parts(piece, query, key, value, window)
        causal = mask is None and piece.nearer is None
        found, found_lse = kernel(*parts, 0.0, causal, attn_mask=mask, scale=scale)
        found = found.transpose(1, 2)
        if piece.nearer is not None:  # what a query sees of its own document stands there already
            before = lse[piece.rows, :, piece.queries]
            share = torch.sigmoid(found_lse - before).transpose(1, 2).unsqueeze(-1)
            found = torch.lerp(out[piece.rows, piece.queries].to(share.dtype), found.to(share.dtype), share)
            found_lse = torch.logaddexp(before, found_lse)
        out[piece.rows, piece.queries] = found
        lse[piece.rows, :, piece.queries] = found_lse
    return out, lse


@torch.library.custom_op("sea::document_attention_backward", mutates_args=(), device_types="cpu")
def _attend_backward(
    grad: Tensor, query: Tensor, key: Tensor, value: Tensor, out: Tensor, lse: Tensor, starts: Tensor,
    prompts: Tensor | None, window: int,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """The gradients of query, key and value for `grad` [B, T, H, d]."""
    kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
    grad, out = grad.transpose(1, 2), out.transpose(1, 2)
    pieces = list(_pieces(starts, prompts, query.shape, window))
    if len(pieces) == 1:
        found = kernel(grad, query, key, value, out, lse, 0.0, True, scale=scale)
        return found[0].contiguous(), found[1].contiguous(), found[2].contiguous()
    # A key has gradients from two pieces in a window or in a prompt that is shared; else every place is written once.
    adds = window > 0 or prompts is not None
    make = torch.zeros_like if adds else torch.empty_like
    grads: list[Tensor] = [make(x, memory_format=torch.contiguous_format) for x in (query, key, value)]
    for piece in pieces:
        parts, mask = _parts(piece, query, key, value, window)
        rows, queries, keys, nearer = piece
        causal = mask is None and nearer is None
        of_out, around = grad[rows, :, queries], (out[rows, :, queries], lse[rows, :, queries], 0.0, causal)
        found = kernel(of_out, *parts, *around, attn_mask=mask, scale=scale)
        for into, part, places in zip(grads, found, (queries, keys, keys), strict=True):
            if adds:
                into[rows, :, places] += part
            else:
                into[rows, :, places] = part
    return grads[0], grads[1], grads[2]


@_attend.register_fake
def _attend_shapes(
    query: Tensor, key: Tensor, value: Tensor, starts: Tensor, prompts: Tensor | None, window: int, scale: float
) -> tuple[Tensor, Tensor]:
    batch, heads, width, size = query.shape
    return query.new_empty(batch, width, heads, size), query.new_empty(batch, heads, width, dtype=_lse_dtype(query))


@_attend_backward.register_fake
def _attend_backward_shapes(
    grad: Tensor, query: Tensor, key: Tensor, value: Tensor, out: Tensor, lse: Tensor, starts: Tensor,
    prompts: Tensor | None, window: int,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    shapes = [torch.empty_like(x, memory_format=torch.contiguous_format) for x in (query, key, value)]
    return shapes[0], shapes[1], shapes[2]


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    query, key, value, starts, prompts, ctx.window, ctx.scale = inputs
    ctx.save_for_backward(query, key, value, *output, starts, prompts)
    ctx.mark_non_differentiable(output[1])


def _gradients(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    query, key, value, out, lse, starts, prompts = ctx.saved_tensors
    grads = _attend_backward(grad, query, key, value, out, lse, starts, prompts, ctx.window, ctx.scale)
    return *grads, None, None, None, None


_attend.register_autograd(_gradients, setup_context=_keep)
