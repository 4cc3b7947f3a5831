"""Attention of one token each of many answers, and of prompts being read beside them, without padding.

`sea_rows` is registered with transformers as an attention implementation, as `sea_tree` is; a batch is one row of
tokens: the newest token of every answer first, then pieces of prompts. Each token sees the shared beginnings that its
prompt hangs on, each held once for all answers and read in one call for all of them, and what is its answer's own,
held in a slot; the parts are merged by their log-sum-exp, which is exact. Query heads of one key head are folded into
one product. Measured on one core, 8 heads of 64, 4 key heads: 64 answers on a beginning of 2,000 tokens take 2.5 ms a
layer where 64 copies of it take 16; a slot of 300 tokens 18 microseconds, as a part of a padded call of 8 it takes 36,
so slots share a call only where that pads little. CPU: torch's flash kernel; capped scores and CUDA: plain products.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from seatools.engine.prefix_attention import Window, check_plain, window_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NAME = "sea_rows"
# Tokens of padding that cost as much as a call of their own does.
_PADDING_CPU, _PADDING_CUDA = 48, 1 << 20
_PLAIN_ELEMENTS = 1 << 26  # scores that the plain products hold at a time

KeysValues = tuple[Tensor, Tensor]


@dataclass(eq=False)
class Beginning:
    """Tokens that several prompts of a group begin with, after those of `above`; keys and values by module."""

    ids: list[int]
    start: int
    """Position of its first token."""
    above: Beginning | None
    users: int = 0
    """Prompts that hang on it and are not finished; at none its keys and values are dropped."""
    done: int = 0
    """Tokens that have been read."""
    kept: dict[nn.Module, KeysValues] = field(default_factory=dict)

    @property
    def is_read(self) -> bool:
        return self.done == len(self.ids)

    def chain(self) -> list[Beginning]:
        """Itself and all above it."""
        return [self] if self.above is None else [self, *self.above.chain()]


class Slots:
    """Keys and values [slots, H, capacity, d] of what is an answer's own, by module.

    Zeros, as what is masked must be finite; on a CPU numpy's, where a page that no token has reached takes no memory.
    """

    def __init__(self, number: int, capacity: int) -> None:
        self.number, self.capacity = number, capacity
        self._kept: dict[nn.Module, KeysValues] = {}

    def of(self, module: nn.Module, key: Tensor, value: Tensor) -> KeysValues:
        if module not in self._kept:
            shape = self.number, key.shape[1], self.capacity
            self._kept[module] = _zeros((*shape, key.shape[3]), key), _zeros((*shape, value.shape[3]), value)
        return self._kept[module]


def _zeros(shape: tuple[int, ...], like: Tensor) -> Tensor:
    if like.device.type != "cpu":
        return like.new_zeros(shape)
    return torch.from_numpy(np.zeros(math.prod(shape) * like.itemsize, np.uint8)).view(like.dtype).view(shape)


class Piece(NamedTuple):
    """Tokens `at` to `at + size` of a beginning, or of what stands in a slot, read in this batch."""

    into: Beginning | int
    at: int
    size: int
    on: Beginning | None
    """The beginning that it hangs on."""


class _Shared(NamedTuple):
    """All tokens of the batch that look at a beginning (its first `length` tokens)."""

    beginning: Beginning
    length: int
    queries: slice | Tensor


class _Together(NamedTuple):
    """Slots beside each other whose newest tokens are computed in one call."""

    queries: slice
    slots: slice
    lengths: list[int]


class RowLayout:
    """Where the tokens of a batch stand: the newest token of each answer, then `pieces`.

    `slots`, `lengths`: of the answers, ascending slots and how many tokens each holds, the newest among them;
    `on`: what their prompts hang on; `positions` int64 [N]: of all tokens, on the device.
    """

    def __init__(
        self,
        store: Slots,
        slots: Sequence[int],
        lengths: Sequence[int],
        on: Sequence[Beginning | None],
        pieces: Sequence[Piece],
        positions: Tensor,
    ) -> None:
        self.store, self.pieces, self.positions = store, pieces, positions
        self.answers = len(slots)
        device = positions.device
        self.slots = torch.tensor(slots, dtype=torch.int64, device=device)
        self.places = torch.tensor([length - 1 for length in lengths], dtype=torch.int64, device=device)
        padding = _PADDING_CUDA if device.type == "cuda" else _PADDING_CPU
        self.together = list(_together(slots, lengths, padding))
        self.shared = self._shared(on)
        self._masks: dict[Any, Tensor | None] = {}

    def _shared(self, on: Sequence[Beginning | None]) -> list[_Shared]:
        """Every beginning that is looked at: by answers, by pieces that hang on it, by the rest of itself."""
        looked: dict[tuple[Beginning, int], list[int]] = {}
        for place, last in enumerate(on):
            for beginning in last.chain() if last is not None else ():
                looked.setdefault((beginning, len(beginning.ids)), []).append(place)
        at = self.answers
        for piece in self.pieces:
            seen = [(beginning, len(beginning.ids)) for beginning in (piece.on.chain() if piece.on is not None else ())]
            if isinstance(piece.into, Beginning) and piece.at:
                seen.append((piece.into, piece.at))
            for one in seen:
                looked.setdefault(one, []).extend(range(at, at + piece.size))
            at += piece.size
        return [_Shared(*one, _slice_of(places, self.positions.device)) for one, places in looked.items()]

    def together_mask(self, call: _Together, window: int, like: Tensor) -> tuple[int, Tensor | None]:
        """(first key that any of the slots sees, what is added to the scores [n, 1, 1, keys] or None)."""
        longest, shortest = max(call.lengths), min(call.lengths)
        first = max(0, shortest - window) if window else 0
        if longest == shortest:
            return first, None
        key = call.slots.start, window
        if key not in self._masks:
            index = torch.arange(first, longest, device=like.device)
            last = torch.tensor(call.lengths, device=like.device)[:, None]
            allowed = index < last
            if window:
                allowed &= index >= last - window
            self._masks[key] = _added(allowed, like)[:, None, None]
        return first, self._masks[key]

    def shared_mask(self, shared: _Shared, window: int, groups: int, like: Tensor) -> tuple[int, Tensor | None] | None:
        """(first key seen, what is added to the scores [groups * n, keys] or None); None where no key is seen."""
        if not window:
            return 0, None
        key = id(shared.beginning), shared.length, window
        if key not in self._masks:
            own = self.positions[shared.queries]
            positions = torch.arange(shared.length, device=own.device) + shared.beginning.start
            allowed = own[:, None] - positions < window
            self._masks[key] = None if bool(allowed.all()) else _added(allowed, like)
        mask = self._masks[key]
        if mask is None:
            return 0, None
        seen = mask.amax(0) == 0
        if not bool(seen.any()):
            return None
        first = int(seen.to(torch.uint8).argmax())
        return first, mask[:, first:].repeat(groups, 1)


def _together(slots: Sequence[int], lengths: Sequence[int], padding: int) -> Iterator[_Together]:
    """Runs of slots beside each other that waste at most `padding` tokens for each call that they save."""
    first, total, longest = 0, 0, 0
    for place, (slot, length) in enumerate(zip(slots, lengths, strict=True)):
        number = place - first
        wasted = max(longest, length) * (number + 1) - total - length
        if number and (slot != slots[place - 1] + 1 or wasted > padding * number):
            yield _Together(slice(first, place), slice(slots[first], slots[place - 1] + 1), list(lengths[first:place]))
            first, total, longest = place, 0, 0
        total, longest = total + length, max(longest, length)
    if slots:
        yield _Together(slice(first, len(slots)), slice(slots[first], slots[-1] + 1), list(lengths[first:]))


def _slice_of(places: list[int], device: torch.device) -> slice | Tensor:
    if places[-1] - places[0] + 1 == len(places):
        return slice(places[0], places[-1] + 1)
    return torch.tensor(places, dtype=torch.int64, device=device)


def _added(allowed: Tensor, like: Tensor) -> Tensor:
    """Zero where `allowed`, else finite and very low: a token may see nothing of a part, which then weighs nothing."""
    return torch.zeros(allowed.shape, dtype=like.dtype, device=like.device).masked_fill_(
        ~allowed, torch.finfo(like.dtype).min / 2
    )


_layout: ContextVar[RowLayout | None] = ContextVar("layout of the batch", default=None)


@contextmanager
def row_attention(model: PreTrainedModel) -> Iterator[None]:
    """Within it `model` attends by `sea_rows`, and `row_hidden` can be called."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, _mask)
    before = model.config._attn_implementation
    model.set_attn_implementation(NAME)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def row_hidden(model: PreTrainedModel, ids: Tensor, layout: RowLayout) -> Tensor:
    """Last hidden states [N, D] of the tokens `ids` int64 [N], after the decoder's final norm."""
    decoder: Any = model.get_decoder()
    if decoder is model:  # get_decoder's lookup fails for a few classes, Llama 4 among them
        decoder = model.model
    token = _layout.set(layout)
    try:
        return decoder(input_ids=ids[None], position_ids=layout.positions[None], use_cache=False).last_hidden_state[0]
    finally:
        _layout.reset(token)


def _mask(**arguments: Any) -> Window:
    """transformers' mask function of `sea_rows`."""
    return window_of(NAME, arguments)


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Window | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    softcap: float | None = None,
    **arguments: Any,
) -> tuple[Tensor, None]:
    """transformers' attention function: query [1, H, N, d], key and value [1, H / g, N, d] -> [1, N, H, d]."""
    layout = _layout.get()
    if layout is None or not isinstance(attention_mask, Window):
        raise NotImplementedError(f"{NAME} attention computes rows of answers only")
    check_plain(NAME, module, dropout, arguments)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    kernel = _Kernel(scale, softcap, attention_mask.size)
    return _attend(layout, module, query, key, value, kernel), None


class _Kernel(NamedTuple):
    scale: float
    softcap: float | None
    window: int

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, causal: bool, mask: Tensor | None) -> KeysValues:
        """(attention [B, H, n, d], log-sum-exp of the scores [B, H, n], at least fp32) over some keys."""
        if self.softcap is None and query.device.type == "cpu" and query.shape[-1] == value.shape[-1]:
            flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
            return flash(query, key, value, 0.0, causal, attn_mask=mask, scale=self.scale)
        return plain_attention(query, key, value, causal, mask, self.scale, self.softcap)


def _attend(layout: RowLayout, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, kernel: _Kernel) -> Tensor:
    _, heads, number, size = query.shape
    key_heads, groups = key.shape[1], heads // key.shape[1]
    keys, values = layout.store.of(module, key, value)
    wide = torch.float64 if query.dtype == torch.float64 else torch.float32
    merged = bool(layout.shared)
    # sums of parts are kept in fp32, so that a half-precision result is rounded twice and not once a part
    out = query.new_empty(number, heads, value.shape[-1], dtype=wide if merged else query.dtype)
    lse = query.new_empty(number, heads, dtype=wide)
    answers = layout.answers
    if answers:
        keys[layout.slots, :, layout.places] = key[0, :, :answers].transpose(0, 1)
        values[layout.slots, :, layout.places] = value[0, :, :answers].transpose(0, 1)
        folded = query[0, :, :answers].transpose(0, 1).reshape(answers, key_heads, groups, size)
        for call in layout.together:
            first, mask = layout.together_mask(call, kernel.window, query)
            seen = slice(first, max(call.lengths))
            found, found_lse = kernel(
                folded[call.queries], keys[call.slots, :, seen], values[call.slots, :, seen], False, mask
            )
            out[call.queries] = found.flatten(1, 2)
            lse[call.queries] = found_lse.flatten(1, 2)
    at = answers
    for piece in layout.pieces:
        part = slice(at, at + piece.size)
        _read(piece, part, module, keys, values, query, key, value, kernel, out, lse)
        at += piece.size
    for shared in layout.shared:
        masked = layout.shared_mask(shared, kernel.window, groups, query)
        if masked is None:
            continue
        first, mask = masked
        kept_keys, kept_values = shared.beginning.kept[module]
        seen = slice(first, shared.length)
        q = query[0][:, shared.queries].reshape(1, key_heads, -1, size)
        found, found_lse = kernel(q, kept_keys[:, :, seen], kept_values[:, :, seen], False, mask)
        _merge(out, lse, shared.queries, found.reshape(heads, -1, out.shape[-1]), found_lse.reshape(heads, -1))
    return out[None].to(query.dtype)


def _read(
    piece: Piece, part: slice, module: nn.Module, keys: Tensor, values: Tensor, query: Tensor, key: Tensor,
    value: Tensor, kernel: _Kernel, out: Tensor, lse: Tensor,
) -> None:  # fmt: skip
    """Keep the keys and values of a piece, and let it look at itself and at what its slot holds before it."""
    if isinstance(piece.into, Beginning):
        kept = piece.into.kept
        if module not in kept:
            length = len(piece.into.ids)
            kept[module] = tuple(x.new_empty(1, x.shape[1], length, x.shape[3]) for x in (key, value))  # type: ignore[assignment]
        own_keys, own_values = kept[module]
    else:
        own_keys, own_values = (x[piece.into : piece.into + 1] for x in (keys, values))
    end = piece.at + piece.size
    own_keys[:, :, piece.at : end] = key[:, :, part]
    own_values[:, :, piece.at : end] = value[:, :, part]
    before = 0 if isinstance(piece.into, Beginning) else piece.at  # of a beginning that is a `_Shared`
    window, causal, first, mask = kernel.window, True, piece.at, None
    if before or 0 < window < piece.size:
        first = max(0, piece.at - window + 1) if window and before else piece.at - before
        back = torch.arange(piece.at, end)[:, None] - torch.arange(first, end)
        allowed = (back >= 0) & (back < window) if window else back >= 0
        causal, mask = False, _added(allowed.to(query.device), query)
    found, found_lse = kernel(query[:, :, part], own_keys[:, :, first:end], own_values[:, :, first:end], causal, mask)
    out[part] = found[0].transpose(0, 1)
    lse[part] = found_lse[0].transpose(0, 1)


def _merge(out: Tensor, lse: Tensor, queries: slice | Tensor, found: Tensor, found_lse: Tensor) -> None:
    """Add the attention [H, n, d] over further keys to that of `queries`."""
    found, found_lse = found.transpose(0, 1), found_lse.transpose(0, 1)
    before = lse[queries]
    share = torch.sigmoid(found_lse - before).unsqueeze(-1)
    out[queries] = torch.lerp(out[queries], found.to(out.dtype), share)
    lse[queries] = torch.logaddexp(before, found_lse)


def plain_attention(
    query: Tensor, key: Tensor, value: Tensor, causal: bool, mask: Tensor | None, scale: float, softcap: float | None
) -> KeysValues:
    """By products, the scores in fp32 at least: query [B, H, n, d], key and value [B, H / g, L, d], mask broadcast."""
    batch, heads, number, _ = query.shape
    key_heads, length = key.shape[1], key.shape[2]
    wide = torch.float64 if query.dtype == torch.float64 else torch.float32
    q = query.unflatten(1, (key_heads, heads // key_heads))  # [B, G, H / G, n, d]
    k, v = key.unsqueeze(2).transpose(-1, -2), value.unsqueeze(2)
    if mask is not None and mask.ndim == 4:
        mask = mask.unsqueeze(2)
    out = query.new_empty(batch, heads, number, value.shape[-1])
    lse = query.new_empty(batch, heads, number, dtype=wide)
    step = max(1, _PLAIN_ELEMENTS // (batch * heads * length))
    for at in range(0, number, step):
        part = slice(at, min(at + step, number))
        scores = torch.matmul(q[:, :, :, part] * scale, k).to(wide)
        if softcap is not None:
            scores.div_(softcap).tanh_().mul_(softcap)
        if mask is not None:
            scores += mask if mask.shape[-2] == 1 else mask[..., part, :]
        if causal:
            places = torch.arange(part.start, part.stop, device=query.device)[:, None] + length - number
            scores.masked_fill_(torch.arange(length, device=query.device) > places, -math.inf)
        total = torch.logsumexp(scores, dim=-1)
        lse[:, :, part] = total.flatten(1, 2)
        weights = scores.sub_(total.unsqueeze(-1)).exp_().to(v.dtype)
        out[:, :, part] = torch.matmul(weights, v).flatten(1, 2)
    return out, lse
