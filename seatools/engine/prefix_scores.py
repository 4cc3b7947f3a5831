"""Log-probabilities of any number of documents that begin alike, each shared beginning computed once.

The documents of all tasks become one tree (prefix_tree.py), computed in batches of a budget of tokens
(prefix_batches.py) with an attention of our own (prefix_attention.py); the head runs only where a token is wanted, once
a place, in chunks, in fp32. Five shots of Belebele in Thai: one token in 21 of what one prompt a choice would read.
Whether a model can be computed so is not known from its name: on its first use it computes a small tree of made-up
documents as a tree and apart. One that fails (recurrent states, convolutions, ALiBi, biases of its own) is scored one
document a row, and a message says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from seatools.engine.loss import CHUNK_ELEMENTS_GPU, head_of
from seatools.engine.picked_log_probs import picked_log_probs
from seatools.engine.prefix_attention import (
    GROUP_CPU,
    KeptPath,
    longest_path,
    tree_attention,
    tree_hidden,
    unknown_layers,
)
from seatools.engine.prefix_batches import steps
from seatools.engine.prefix_tree import PrefixTree, fed_length, prefix_tree
from seatools.engine.rows import Document
from seatools.streams.errors import SeaError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Debug = Callable[[str], None]
# Tokens of a batch on a CPU. 51 M Llama, one thread, XCOPA and five shots of Belebele: 512 tokens 1.01 and 2.07 s,
# 1,024 0.99 and 1.94, 2,048 0.86 and 1.94, 4,096 0.86 and 1.95.
CPU_TOKENS = 2048
GPU_TOKENS = 65536  # more than this fills no GPU better


def prefix_scores(
    model: PreTrainedModel,
    docs: Sequence[Document],
    *,
    batch_tokens: int | None = None,
    advance: Callable[[int], None] | None = None,
    debug: Debug | None = None,
) -> np.ndarray:
    """Sums [len(docs)] float64 of log p(token | what stands before it) over the trained tokens of (ids, loss_mask).

    Equal to `sequences.score_documents` up to rounding, whatever the documents share and however they are batched.
    `batch_tokens` lowers the number of tokens in a batch below what is found (`token_budget`). `advance` is told how
    many documents have been finished, in all len(docs).
    """
    advance, debug = advance or _nothing, debug or _nothing
    values = np.zeros(len(docs), dtype=np.float64)
    limit = _rotary_limit(model)
    lengths = np.array([fed_length(doc) for doc in docs], dtype=np.int64)
    short, long = (np.flatnonzero((lengths > limit) == over) if limit else np.arange(0) for over in (False, True))
    if not limit:
        short = np.arange(len(docs))
    reason = unshareable(model)
    with torch.no_grad():  # not inference_mode: what the model caches meanwhile may be trained through later
        for chosen, why in ((short, reason), (long, f"rotary frequencies that change at {limit} tokens")):
            if not len(chosen):
                continue
            tree = prefix_tree([docs[number] for number in chosen.tolist()])
            if why is None:
                found = _tree_values(model, tree, batch_tokens, advance, debug)
            else:
                debug(f"each document is scored by itself: {type(model).__name__} has {why}")
                found = _row_values(model, tree, batch_tokens, advance)
            values[chosen] = tree.scores(found)
            advance(len(chosen) - len(tree.last_slots))
    return values


def _nothing(_: Any) -> None:
    pass


def _tree_values(
    model: PreTrainedModel, tree: PrefixTree, batch_tokens: int | None, advance: Callable[[int], None], debug: Debug
) -> np.ndarray:
    """The log-probabilities [P] of the pairs of `tree`."""
    budget = token_budget(model, longest=int(tree.positions.max(initial=0)) + 1)
    budget = min(budget, batch_tokens or budget)
    plan = list(steps(tree, budget))
    debug(f"{len(tree.ids):,} tokens to read for {tree.num_docs:,} documents, in {len(plan):,} batches of {budget:,}")
    values = np.zeros(len(tree.slots), dtype=np.float64)
    path = KeptPath(longest_path(plan))
    with tree_attention(model):
        for step in plan:
            hidden = tree_hidden(model, tree, step, path)
            at = 0
            places, pairs = [], []
            for first, end in step.ranges:
                one, after = np.searchsorted(tree.slots, (first, end))
                pairs.append(np.arange(one, after))
                places.append(tree.slots[one:after] - first + at)
                at += end - first
            wanted = np.concatenate(pairs)
            values[wanted] = _head_values(model, hidden, np.concatenate(places), tree.targets[wanted])
            advance(sum(tree.finished(*part) for part in step.ranges))
    return values


def _row_values(
    model: PreTrainedModel, tree: PrefixTree, batch_tokens: int | None, advance: Callable[[int], None]
) -> np.ndarray:
    """The same, each longest document in a row of its own, padded on the right, where nothing causal sees it."""
    budget = token_budget(model, longest=int(tree.positions.max(initial=0)) + 1)
    budget = min(budget, batch_tokens or budget)
    values, done = np.zeros(len(tree.slots), dtype=np.float64), np.zeros(len(tree.ids), dtype=bool)
    leaves = np.flatnonzero(tree.ends == tree.starts[1:])
    leaves = leaves[np.argsort(-tree.positions[tree.ends[leaves] - 1], kind="stable")]
    while len(leaves):
        width = int(tree.positions[tree.ends[leaves[0]] - 1]) + 1
        rows = [_chain(tree, int(leaf)) for leaf in leaves[: max(1, budget // width)]]
        leaves = leaves[len(rows) :]
        ids = np.zeros((len(rows), width), dtype=np.int64)
        for row, slots in enumerate(rows):
            ids[row, : len(slots)] = tree.ids[slots]
        hidden = _row_hidden(model, ids)
        places, pairs = [], []
        for row, slots in enumerate(rows):
            new = slots[~done[slots]]  # a run up to the end of the document
            done[new] = True
            first, end = np.searchsorted(tree.slots, new), np.searchsorted(tree.slots, new, side="right")
            counts = end - first
            within = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
            pairs.append(np.repeat(first, counts) + within)
            places.append(np.repeat(row * width + tree.positions[new], counts))
            advance(int(sum(tree.finished(slot, slot + 1) for slot in new)))
        wanted = np.concatenate(pairs)
        values[wanted] = _head_values(model, hidden.flatten(0, 1), np.concatenate(places), tree.targets[wanted])
    return values


def _row_hidden(model: PreTrainedModel, ids: np.ndarray) -> Tensor:
    """Last hidden states [B, T, D] of rows of one document each, with the model's own masks and positions."""
    decoder: Any = model.get_decoder()
    decoder = model.model if decoder is model else decoder
    return decoder(input_ids=torch.from_numpy(ids).to(model.device), use_cache=False).last_hidden_state


def _chain(tree: PrefixTree, segment: int) -> np.ndarray:
    """The slots of all tokens from the beginning to the end of a segment."""
    parts = []
    while segment >= 0:
        parts.append(np.arange(tree.starts[segment], tree.starts[segment + 1]))
        segment = int(tree.parents[segment])
    return np.concatenate(parts[::-1])


def _head_values(model: PreTrainedModel, hidden: Tensor, places: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """log p of `targets` [m] after the tokens `places` [m], ascending, of `hidden` [n, D]."""
    rows, index = np.unique(places, return_inverse=True)
    scored = hidden[torch.from_numpy(rows).to(hidden.device)]
    return picked_log_probs(scored, index, targets, head_of(model)).double().cpu().numpy()


def token_budget(model: PreTrainedModel, *, longest: int) -> int:
    """Tokens of a batch: on a CPU the fastest measured, on CUDA what fits the free memory beside a path of `longest`.

    A token holds its activations of one layer: the residual and its norm, q, k, v and the attention's sums in fp32, and
    three vectors of the feed-forward width; half of what is free is left to the allocator's gaps.
    """
    if model.device.type != "cuda":
        return CPU_TOKENS
    config: Any = model.config.get_text_config(decoder=True)
    size = model.dtype.itemsize
    heads = config.num_attention_heads
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // heads
    kv_width = 2 * head_dim * (getattr(config, "num_key_value_heads", None) or heads)
    wide = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    a_token = size * (6 * config.hidden_size + 3 * wide + 2 * heads * head_dim + kv_width) + 12 * heads * head_dim
    path = size * kv_width * config.num_hidden_layers * longest
    free = torch.cuda.mem_get_info(model.device)[0] + torch.cuda.memory_reserved(model.device)
    free -= torch.cuda.memory_allocated(model.device)
    room = free // 2 - path - 2 * 4 * CHUNK_ELEMENTS_GPU
    return int(min(max(room // a_token, 256), GPU_TOKENS))


def _rotary_limit(model: PreTrainedModel) -> int | None:
    """The length beyond which a text changes the rotary frequencies of all its batch (Phi-3 long, dynamic NTK)."""
    config: Any = model.config.get_text_config(decoder=True)
    found = getattr(config, "rope_parameters", None) or {}
    for rope in (found, *(value for value in found.values() if isinstance(value, dict))):
        if rope.get("rope_type") in ("longrope", "dynamic"):
            first = rope.get("original_max_position_embeddings")
            first = first or getattr(config, "original_max_position_embeddings", None)
            return int(first or config.max_position_embeddings)
    return None


_reasons: WeakKeyDictionary[Any, tuple[Any, str | None]] = WeakKeyDictionary()


def unshareable(model: PreTrainedModel) -> str | None:
    """Why `model` cannot compute documents as a tree, after "it has"; None where it was seen to do it right.

    The proof: six made-up documents (a shared beginning in two batches, branches, one the beginning of another) have
    the last hidden states that each has in a row of its own, and another branch beside them does not move them, by
    calls with masks and by causal ones. Kept for each model and dtype. Cost: seven short forward passes.
    """
    known = _reasons.get(model)
    if known is None or known[0] != model.dtype:
        _reasons[model] = known = model.dtype, _disproof(model)
    return known[1]


def _disproof(model: PreTrainedModel) -> str | None:
    if model.training:
        raise ValueError("the model is in training mode; call model.eval() first")
    if (odd := unknown_layers(model)) is not None:
        return odd
    embeddings: Any = model.get_input_embeddings()
    vocabulary = embeddings.weight.shape[0]
    exact = model.dtype in (torch.float32, torch.float64)
    common, branch = _made_up(5, 7, vocabulary), _made_up(4, 13, vocabulary)
    docs = [[*common, *branch, *_made_up(n, stride, vocabulary)] for n, stride in ((3, 17), (2, 19))]
    docs += [[*common, *_made_up(4, 23, vocabulary)], [*common, *branch], common]
    others = [_made_up(4, stride, vocabulary) for stride in (29, 31)]
    try:
        with torch.no_grad():
            rows = np.zeros((len(docs), max(map(len, docs))), dtype=np.int64)
            for row, doc in zip(rows, docs, strict=True):
                row[: len(doc)] = doc
            apart = [hidden[: len(doc)] for hidden, doc in zip(_row_hidden(model, rows), docs, strict=True)]
            found = [
                list(_tree_rows(model, [*docs, [*common, *other]], group))
                for other, group in zip(others, (GROUP_CPU, 0), strict=True)
            ]
        # the largest, not a mean: a short convolution touches only the first tokens behind a branching;
        # `not <=` rather than `>`, so that NaN counts as a difference
        moved = max(_difference(one, other) for one, other in zip(*found, strict=True))
        if not moved <= (1e-4 if exact else 0.05):
            return "layers by which branches of a tree see each other"
        worst = max(_difference(one, own) for one, own in zip(found[0], apart, strict=True))
        if not worst <= (1e-4 if exact else 0.1):
            return f"layers that compute a tree otherwise (off by {worst:.2g})"
    except (SeaError, TypeError, ValueError, RuntimeError, AttributeError, KeyError, NotImplementedError) as error:
        return f"no place for a tree: {(str(error).splitlines() or [type(error).__name__])[0]}"
    return None


def _made_up(length: int, stride: int, vocabulary: int) -> list[int]:
    return [(3 + stride * (i + 1)) % vocabulary for i in range(length)]


def _tree_rows(model: PreTrainedModel, docs: Sequence[list[int]], group: int) -> Iterator[Tensor]:
    """The last hidden states of all documents but the last, computed as a tree, with a kept path."""
    tree = prefix_tree([([*doc, 0], [0] * len(doc) + [1]) for doc in docs])
    plan = list(steps(tree, 12))
    path = KeptPath(longest_path(plan))
    rows: dict[int, Tensor] = {}
    with tree_attention(model):
        for step in plan:
            slots = np.concatenate([np.arange(*part) for part in step.ranges])
            rows.update(zip(slots.tolist(), tree_hidden(model, tree, step, path, group=group), strict=True))
    chains = [_chain(tree, segment) for segment in range(len(tree.parents))]
    by_ids = {tuple(tree.ids[chain].tolist()): chain.tolist() for chain in chains}
    for doc in docs[:-1]:
        yield torch.stack([rows[slot] for slot in by_ids[tuple(doc)]])


def _difference(one: Tensor, other: Tensor) -> float:
    change = (one.float() - other.float()).norm(dim=-1) / other.float().norm(dim=-1)
    return float(change.max())
