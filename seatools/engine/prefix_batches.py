"""In which order a tree of prefixes is computed, in batches of a budget of tokens.

A subtree that fits the budget is computed whole, together with others that hang on the same path; the segment of one
that does not fit is computed alone, in pieces, and its keys and values are kept while what hangs on it is computed. So
a few-shot prompt is read once for all its questions and a question once for its choices, a text longer than the budget
is read in pieces, and at any time one path from the beginning is kept, at most as long as the longest document.
Largest first: a lack of memory shows at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from seatools.engine.prefix_tree import PrefixTree


@dataclass(frozen=True)
class Step:
    """One forward pass: these slices of slots, behind the first `path` tokens of the kept path."""

    ranges: tuple[tuple[int, int], ...]
    path: int
    keep: bool  # it is one slice that goes on the path, at `path`

    @property
    def size(self) -> int:
        return sum(end - first for first, end in self.ranges)


def steps(tree: PrefixTree, budget: int) -> Iterator[Step]:
    """Every slot of `tree` once, at most `budget` tokens a step."""
    if budget < 1:
        raise ValueError(f"a batch needs at least one token, not {budget}")
    sizes = tree.ends - tree.starts[:-1]
    todo = [np.flatnonzero(tree.parents < 0)]  # families of segments with the same parent
    below = _children(tree)
    while todo:
        family = todo.pop()
        if not len(family):
            continue
        path = int(tree.positions[tree.starts[family[0]]])
        family = family[np.argsort(-sizes[family], kind="stable")]
        large = family[sizes[family] > budget]
        if len(large):  # one, then the rest of the family: its path is not overwritten meanwhile
            segment = int(large[0])
            first, end = int(tree.starts[segment]), int(tree.starts[segment + 1])
            pieces = -(-(end - first) // budget)
            cuts = [first + (end - first) * piece // pieces for piece in range(pieces + 1)]
            for one, after in zip(cuts[:-1], cuts[1:], strict=True):
                last = after == end and not len(below[segment])
                yield Step(((one, after),), path + one - first, not last)
            todo.append(family[family != segment])
            todo.append(below[segment])
            continue
        ranges: list[tuple[int, int]] = []
        size = 0
        for first, end in zip(tree.starts[family].tolist(), tree.ends[family].tolist(), strict=True):
            if size + end - first > budget:
                yield Step(tuple(ranges), path, False)
                ranges, size = [], 0
            ranges.append((first, end))
            size += end - first
        yield Step(tuple(ranges), path, False)


def _children(tree: PrefixTree) -> list[np.ndarray]:
    order = np.argsort(tree.parents, kind="stable")
    cuts = np.searchsorted(tree.parents[order], np.arange(len(tree.parents) + 1))
    return [order[first:end] for first, end in zip(cuts[:-1], cuts[1:], strict=True)]
