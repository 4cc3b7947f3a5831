"""Documents as a tree of tokens, so that what several begin with is computed once.

Each document is cut behind the token that predicts its last target: the last target itself is looked up in the logits
and never fed, so that the letters A to D of a question are one node with four targets. The cut documents are sorted;
neighbours then share the longest prefixes, and one pass with a stack makes the radix tree. Its tokens are laid out in
depth-first order: a segment, and a segment with all that hangs on it, are slices of flat arrays. 2,700 prompts of 1,500
tokens take 0.1 s, and 4 bytes a token while they are sorted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seatools.engine.rows import Document


@dataclass(frozen=True)
class PrefixTree:
    """M tokens in S segments, depth-first; a "slot" is the index of a token among the M."""

    ids: np.ndarray  # int64 [M]
    positions: np.ndarray  # int64 [M]: how many tokens stand before it in its documents
    starts: np.ndarray  # int64 [S + 1]: segment s is the slots [starts[s], starts[s + 1])
    ends: np.ndarray  # int64 [S]: segment s and all that hangs on it are the slots [starts[s], ends[s])
    parents: np.ndarray  # int64 [S]: the segment before it, -1 at the beginning of documents
    slots: np.ndarray  # int64 [P], ascending: where a log-probability is wanted,
    targets: np.ndarray  # int64 [P]: and of which next token
    owner: np.ndarray  # int64 [Q]: the document that wants
    pair: np.ndarray  # int64 [Q]: this one of the P
    last_slots: np.ndarray  # int64, ascending: the last slot of each document that has a target
    num_docs: int

    def scores(self, values: np.ndarray) -> np.ndarray:
        """Sums [num_docs] float64 of the P log-probabilities `values` over the targets of each document."""
        return np.bincount(self.owner, weights=values[self.pair], minlength=self.num_docs)

    def finished(self, first: int, end: int) -> int:
        """How many documents end in the slots [first, end)."""
        return int(np.searchsorted(self.last_slots, end) - np.searchsorted(self.last_slots, first))


def fed_length(doc: Document) -> int:
    """How many tokens of a document have to be read for its targets: those before the last; 0 without a target."""
    ids, mask = doc
    if len(ids) != len(mask):
        raise ValueError(f"{len(ids)} ids but a loss mask of {len(mask)}")
    wanted = np.flatnonzero(np.asarray(mask))
    return int(wanted[-1]) if len(wanted) else 0


def prefix_tree(docs: Sequence[Document]) -> PrefixTree:
    """The tree of `docs`, (ids, loss_mask) each; a first token is nobody's target, whatever its mask says.

    Raises ValueError for ids and mask of different length.
    """
    fed = [np.asarray(doc[0], dtype=np.int64)[: fed_length(doc)] for doc in docs]
    read = [number for number, ids in enumerate(fed) if len(ids)]
    keys = {number: fed[number].astype(">u4").tobytes() for number in read}  # bytes sort as the ids do, prefixes first
    read.sort(key=keys.__getitem__)
    del keys
    begins, stops, parents, samples = [0], [0], [-1], [-1]  # segment 0 is empty: where all documents begin
    last_of: dict[int, int] = {}  # the segment in which a document ends
    stack = [0]
    for place, number in enumerate(read):
        ids = fed[number]
        shared = _common(fed[read[place - 1]], ids) if place else 0
        below = -1
        while stops[stack[-1]] > shared:
            below = stack.pop()
        if stops[stack[-1]] < shared:  # the segment on which they part becomes two
            begins.append(begins[below])
            stops.append(shared)
            parents.append(stack[-1])
            samples.append(samples[below])
            begins[below], parents[below] = shared, len(begins) - 1
            stack.append(len(begins) - 1)
        if len(ids) > shared:
            begins.append(shared)
            stops.append(len(ids))
            parents.append(stack[-1])
            samples.append(number)
            stack.append(len(begins) - 1)
        last_of[number] = stack[-1]
    order = _depth_first(parents)
    rank = {segment: place for place, segment in enumerate(order)}
    lengths = np.array([stops[segment] - begins[segment] for segment in order], dtype=np.int64)
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    above = np.array([rank.get(parents[segment], -1) for segment in order], dtype=np.int64)
    ends = starts[1:].copy()
    for place in range(len(order) - 1, -1, -1):
        if above[place] >= 0:
            ends[above[place]] = max(ends[above[place]], ends[place])
    parts = [slice(begins[segment], stops[segment]) for segment in order]
    nothing = np.zeros(0, dtype=np.int64)
    ids = np.concatenate([nothing, *(fed[samples[s]][part] for s, part in zip(order, parts, strict=True))])
    positions = np.concatenate([nothing, *(np.arange(part.start, part.stop) for part in parts)])
    wanted, owners = [nothing], [nothing]
    next_ids = [nothing]
    for number in read:
        own_ids, mask = docs[number]
        targets = np.flatnonzero(np.asarray(mask))
        targets = targets[targets > 0]
        next_ids.append(np.asarray(own_ids, dtype=np.int64)[targets])
        owners.append(np.full(len(targets), number, dtype=np.int64))
        slots = targets - 1
        place, left = rank[last_of[number]], len(slots)
        while left:
            first = parts[place].start
            upto = int(np.searchsorted(slots[:left], first))
            slots[upto:left] += starts[place] - first
            place, left = int(above[place]), upto
        wanted.append(slots)
    slots, targets = np.concatenate(wanted), np.concatenate(next_ids)
    width = int(targets.max(initial=0)) + 1
    pairs, pair = np.unique(slots * width + targets, return_inverse=True)
    last_slots = np.sort(np.array([starts[rank[last_of[number]] + 1] - 1 for number in read], dtype=np.int64))
    return PrefixTree(
        ids, positions, starts, ends, above, pairs // width, pairs % width, np.concatenate(owners), pair, last_slots,
        len(docs),
    )  # fmt: skip


def _common(one: np.ndarray, other: np.ndarray) -> int:
    """How many tokens two documents have in common at the beginning."""
    length = min(len(one), len(other))
    different = one[:length] != other[:length]
    first = int(different.argmax()) if length else 0
    return first if length and different[first] else length


def _depth_first(parents: Sequence[int]) -> list[int]:
    """All segments but the empty first, parents before children, each subtree in one run."""
    children: list[list[int]] = [[] for _ in parents]
    for segment, parent in enumerate(parents):
        if parent >= 0:
            children[parent].append(segment)
    order: list[int] = []
    todo = children[0][::-1]
    while todo:
        segment = todo.pop()
        order.append(segment)
        todo.extend(reversed(children[segment]))
    return order
