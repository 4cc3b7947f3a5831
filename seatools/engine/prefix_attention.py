"""Attention over a piece of a prefix tree: each token sees the kept path, the segments it hangs on, and its own.

`sea_tree` is registered with transformers as an attention implementation, as `sea_varlen` is: its mask function answers
with the sliding window of the layer, and what may be seen follows from the places in the tree. A batch is one row
of tokens, depth-first and without padding. Scores of disjoint sets of keys are merged by their log-sum-exp, which is
exact: every segment attends to itself (causal), all that hangs on a segment attends to it in one call, and the whole
batch to the kept path in one call. Subtrees of few tokens are one call with a mask, as a call costs more than they do.
Keys and values of the path are kept here, by module, so that no cache class of transformers is involved.
CPU: torch's flash kernel. Capped scores (Gemma 2), masks on CUDA and fp32 there: by plain products, in pieces.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from seatools.engine.prefix_batches import Step
from seatools.engine.prefix_tree import PrefixTree

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NAME = "sea_tree"
# Most tokens of subtrees that share a call with a mask. On a CPU it hardly matters (XCOPA, one thread: 0.93 s with
# none, 0.95 with 64, 0.94 with 256); on CUDA it is for fewer kernels.
GROUP_CPU, GROUP_CUDA = 64, 1024
_QUERIES = 256  # that one call takes where a sliding window cuts off keys
_PLAIN_ELEMENTS = 1 << 26  # scores that the plain products hold at a time
_LAYERS = {"full_attention", "sliding_attention"}


class Window(NamedTuple):
    """What stands in the place of a mask: how many tokens back a token sees, itself among them; 0: all."""

    size: int


class Call(NamedTuple):
    """One call of a kernel: these queries look at these keys, of the batch or of the path."""

    queries: slice
    keys: slice
    of_path: bool
    causal: bool
    allowed: np.ndarray | None  # bool [queries, keys] where some keys are not seen; None: all, or as `causal` says


class Layout:
    """Where the tokens of a step stand in the tree; makes its calls, once for each window."""

    def __init__(self, tree: PrefixTree, step: Step, group: int) -> None:
        self.path, self.group = step.path, group
        slots = np.concatenate([np.arange(first, end) for first, end in step.ranges])
        self.slots, self.positions = slots, tree.positions[slots]
        # the segments of the step, as (start, end of its own, end of all that hangs on it) in the row
        self.segments: list[tuple[int, int, int]] = []
        at = 0
        for first, end in step.ranges:
            s = int(np.searchsorted(tree.starts, first, side="right")) - 1
            while s < len(tree.ends) and tree.starts[s] < end:
                own_start = max(int(tree.starts[s]), first)
                own_end, last = min(int(tree.starts[s + 1]), end), min(int(tree.ends[s]), end)
                self.segments.append((at + own_start - first, at + own_end - first, at + last - first))
                s += 1
            at += end - first
        self.reach = np.empty(at, dtype=np.int64)  # [N]: the queries that may see a key are those from it to here
        for start, own_end, last in self.segments:
            self.reach[start:own_end] = last
        self._calls: dict[int, tuple[list[Call], list[Call]]] = {}

    def calls(self, window: int) -> tuple[list[Call], list[Call]]:
        """(calls that hold every query once, calls to merge into them)."""
        if window not in self._calls:
            own, more = self._within(window)
            if self.path:
                everything = slice(0, len(self.positions))
                more.extend(self._to_others(everything, slice(0, self.path), np.arange(self.path), True, window))
            self._calls[window] = own, more
        return self._calls[window]

    def _within(self, window: int) -> tuple[list[Call], list[Call]]:
        own: list[Call] = []
        more: list[Call] = []
        index = 0
        while index < len(self.segments):
            start, own_end, last = self.segments[index]
            if last - start > self.group:  # a call of its own; what hangs on it comes next in the list
                own.extend(self._causal(start, own_end, window))
                if last > own_end:
                    keys = slice(start, own_end)
                    more.extend(self._to_others(slice(own_end, last), keys, self.positions[keys], False, window))
                index += 1
                continue
            first, end, number = start, start, 0
            while index < len(self.segments):  # whole subtrees; to the next segment that is not within the last one
                start, _, last = self.segments[index]
                if start >= end:
                    if last - first > self.group:
                        break
                    end = last
                index, number = index + 1, number + 1
            own.extend(self._causal(first, end, window) if number == 1 else [self._masked(first, end, window)])
        return own, more

    def _causal(self, start: int, end: int, window: int) -> Iterator[Call]:
        """A segment, or a piece of one, that looks at itself."""
        if not 0 < window < end - start:
            yield Call(slice(start, end), slice(start, end), False, True, None)
            return
        for at in range(start, end, _QUERIES):
            stop = min(at + _QUERIES, end)
            first = max(start, at - window + 1)
            back = np.arange(at, stop)[:, None] - np.arange(first, stop)
            yield Call(slice(at, stop), slice(first, stop), False, False, (back >= 0) & (back < window))

    def _masked(self, first: int, end: int, window: int) -> Call:
        place = np.arange(first, end)
        allowed = (place <= place[:, None]) & (place[:, None] < self.reach[first:end])
        if window:
            back = self.positions[first:end, None] - self.positions[first:end]
            allowed &= back < window
        return Call(slice(first, end), slice(first, end), False, False, allowed)

    def _to_others(
        self, queries: slice, keys: slice, positions: np.ndarray, of_path: bool, window: int
    ) -> Iterator[Call]:
        """All of `queries` look at `keys`, which stand before them at `positions`, as far as the window reaches."""
        if not window or int(self.positions[queries].max()) - int(positions[0]) < window:
            yield Call(queries, keys, of_path, False, None)
            return
        for at in range(queries.start, queries.stop, _QUERIES):
            part = slice(at, min(at + _QUERIES, queries.stop))
            own = self.positions[part]
            seen = int(np.searchsorted(positions, int(own.min()) - window, side="right"))
            if seen == len(positions):
                continue
            allowed = own[:, None] - positions[seen:] < window
            yield Call(part, slice(keys.start + seen, keys.stop), of_path, False, None if allowed.all() else allowed)


class KeptPath:
    """Keys and values [1, H, capacity, d] of the path, by attention module; `sea_tree` reads and writes them."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._kept: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def write(self, module: nn.Module, at: int, key: Tensor, value: Tensor) -> None:
        if module not in self._kept:
            made = (x.new_empty(*x.shape[:2], self.capacity, x.shape[3]) for x in (key, value))
            self._kept[module] = next(made), next(made)
        for kept, new in zip(self._kept[module], (key, value), strict=True):
            kept[:, :, at : at + new.shape[2]] = new

    def read(self, module: nn.Module) -> tuple[Tensor, Tensor]:
        return self._kept[module]


class _Running(NamedTuple):
    layout: Layout
    path: KeptPath
    keep: bool
    masks: dict[int, Tensor]  # by the identity of `Call.allowed`, which the layout holds on to


_running: ContextVar[_Running | None] = ContextVar("tree that is computed", default=None)


def unknown_layers(model: PreTrainedModel) -> str | None:
    """What in its configuration `sea_tree` has no notion of, or None. The rest is for the proof."""
    config: Any = model.config.get_text_config(decoder=True)
    odd = sorted(set(getattr(config, "layer_types", None) or ()) - _LAYERS)
    if odd:
        return f"layers of {odd[0]}"
    return "chunked attention" if getattr(config, "attention_chunk_size", None) else None


@contextmanager
def tree_attention(model: PreTrainedModel) -> Iterator[None]:
    """Within it `model` attends by `sea_tree`, and `tree_hidden` can be called."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, _mask)
    before = model.config._attn_implementation
    model.set_attn_implementation(NAME)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def tree_hidden(
    model: PreTrainedModel, tree: PrefixTree, step: Step, path: KeptPath, *, group: int | None = None
) -> Tensor:
    """Last hidden states [N, D] of the tokens of a step, in the order of its ranges, after the decoder's final norm.

    `group`: most tokens of subtrees that share a call with a mask; None: the fastest.
    """
    if group is None:
        group = GROUP_CUDA if model.device.type == "cuda" else GROUP_CPU
    layout = Layout(tree, step, group)
    decoder: Any = model.get_decoder()
    if decoder is model:  # get_decoder's lookup fails for a few classes, Llama 4 among them
        decoder = model.model
    ids, positions = (torch.from_numpy(x)[None].to(model.device) for x in (tree.ids[layout.slots], layout.positions))
    token = _running.set(_Running(layout, path, step.keep, {}))
    try:
        return decoder(input_ids=ids, position_ids=positions, use_cache=False).last_hidden_state[0]
    finally:
        _running.reset(token)


def _mask(**arguments: Any) -> Window:
    """transformers' mask function of `sea_tree`."""
    return window_of(NAME, arguments)


def window_of(name: str, arguments: dict[str, Any]) -> Window:
    """What a mask function is asked for, as attention `name` takes it. NotImplementedError for any other mask."""
    window = arguments.get("local_size")
    if arguments.get("attention_mask") is not None or arguments.get("use_vmap"):
        raise NotImplementedError(f"{name} attention knows no masks of an architecture's own")
    if window not in (None, getattr(arguments["config"], "sliding_window", None)):
        raise NotImplementedError(f"{name} attention has no window of {window}")
    return Window(window or 0)


def check_plain(name: str, module: nn.Module, dropout: float, arguments: dict[str, Any]) -> None:
    """NotImplementedError for what attention `name` does not compute: sinks, biases, dropout, looking ahead."""
    odd = [argument for argument in ("s_aux", "position_bias") if arguments.get(argument) is not None]
    if odd or dropout:
        raise NotImplementedError(f"{name} attention has no {odd[0] if odd else 'dropout'}")
    if arguments.get("is_causal") is False or getattr(module, "is_causal", True) is False:
        raise NotImplementedError(f"{name} attention is causal")


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
    running = _running.get()
    if running is None or not isinstance(attention_mask, Window):
        raise NotImplementedError(f"{NAME} attention computes trees only")
    check_plain(NAME, module, dropout, arguments)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    found = _attend(running, module, query, key, value, attention_mask.size, scale, softcap)
    if running.keep:
        running.path.write(module, running.layout.path, key, value)
    return found, None


def _attend(
    running: _Running,
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    window: int,
    scale: float,
    softcap: float | None,
) -> Tensor:
    own, more = running.layout.calls(window)
    kept = running.path.read(module) if running.layout.path else (key, value)

    def call(each: Call) -> tuple[Tensor, Tensor]:
        keys, values = (x[:, :, each.keys] for x in (kept if each.of_path else (key, value)))
        mask = _mask_of(each, running.masks, query)
        return _part(query[:, :, each.queries], keys, values, each.causal, mask, scale, softcap)

    if len(own) == 1 and not more:
        return call(own[0])[0].transpose(1, 2)
    _, heads, width, _ = query.shape
    # sums of parts are kept in fp32, so that a half-precision result is rounded twice and not once a part
    out = query.new_empty(1, width, heads, value.shape[-1], dtype=_wide(query.dtype) if more else query.dtype)
    lse = query.new_empty(1, heads, width, dtype=_wide(query.dtype))
    for each in own:
        found, found_lse = call(each)
        out[:, each.queries] = found.transpose(1, 2)
        lse[:, :, each.queries] = found_lse
    for each in more:
        found, found_lse = call(each)
        before = lse[:, :, each.queries]
        share = torch.sigmoid(found_lse - before).transpose(1, 2).unsqueeze(-1)
        into = out[:, each.queries]
        into.lerp_(found.transpose(1, 2).to(out.dtype), share)
        torch.logaddexp(before, found_lse, out=before)
    return out.to(query.dtype)


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _mask_of(call: Call, masks: dict[int, Tensor], query: Tensor) -> Tensor | None:
    """What is added to the scores: finite, as a row may see nothing of a part, and then weighs nothing in the sum."""
    if call.allowed is None:
        return None
    if id(call.allowed) not in masks:
        hidden = torch.finfo(query.dtype).min / 2
        mask = torch.zeros(call.allowed.shape, dtype=query.dtype)
        masks[id(call.allowed)] = mask.masked_fill_(torch.from_numpy(~call.allowed), hidden).to(query.device)
    return masks[id(call.allowed)]


def _part(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    causal: bool,
    mask: Tensor | None,
    scale: float,
    softcap: float | None,
) -> tuple[Tensor, Tensor]:
    """(attention [1, H, n, d], log-sum-exp of the scores [1, H, n], at least fp32) over some keys."""
    if softcap is None and query.shape[-1] == value.shape[-1]:
        if query.device.type == "cpu":
            kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
            return kernel(query, key, value, 0.0, causal, attn_mask=mask, scale=scale)
        if query.is_cuda and mask is None and query.dtype in (torch.bfloat16, torch.float16):
            return _varlen(query, key, value, causal, scale)
    return _plain(query, key, value, causal, mask, scale, softcap)


def _varlen(query: Tensor, key: Tensor, value: Tensor, causal: bool, scale: float) -> tuple[Tensor, Tensor]:
    from torch.nn.attention.varlen import AuxRequest, varlen_attn

    q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))
    of_q, of_k = (torch.tensor([0, len(x)], dtype=torch.int32, device=x.device) for x in (q, k))
    found, lse = varlen_attn(
        q, k, v, of_q, of_k, len(q), len(k), scale=scale, window_size=(-1, 0 if causal else -1), enable_gqa=True,
        return_aux=AuxRequest(lse=True),
    )  # fmt: skip
    return found.transpose(0, 1)[None], lse[None]


def _plain(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    causal: bool,
    mask: Tensor | None,
    scale: float,
    softcap: float | None,
) -> tuple[Tensor, Tensor]:
    """By products, the scores in fp32 at least, some queries at a time."""
    _, heads, width, _ = query.shape
    groups, length = key.shape[1], key.shape[2]
    q = query[0].unflatten(0, (groups, heads // groups))  # [G, H / G, n, d]
    k, v = key[0].unsqueeze(1).transpose(-1, -2), value[0].unsqueeze(1)
    out = query.new_empty(groups, heads // groups, width, value.shape[-1])
    lse = query.new_empty(groups, heads // groups, width, dtype=_wide(query.dtype))
    step = max(1, _PLAIN_ELEMENTS // (heads * length))
    for at in range(0, width, step):
        part = slice(at, min(at + step, width))
        scores = torch.matmul(q[:, :, part] * scale, k).to(lse.dtype)
        if softcap is not None:
            scores.div_(softcap).tanh_().mul_(softcap)
        if mask is not None:
            scores += mask[part]
        if causal:
            later = (
                torch.arange(length, device=query.device)
                > torch.arange(part.start, part.stop, device=query.device)[:, None]
            )
            scores.masked_fill_(later, -math.inf)
        lse[:, :, part] = torch.logsumexp(scores, dim=-1)
        out[:, :, part] = torch.matmul(scores.sub_(lse[:, :, part, None]).exp_().to(v.dtype), v)
    return out.flatten(0, 1)[None], lse.flatten(0, 1)[None]


def longest_path(plan: Sequence[Step]) -> int:
    """The capacity that a `KeptPath` needs for these steps."""
    return max((step.path + step.size for step in plan if step.keep), default=0)
