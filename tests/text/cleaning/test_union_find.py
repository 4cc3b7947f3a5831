"""Union-find against connected components by search."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from seatools.text.cleaning.union_find import UnionFind

pairs = st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=30)


def components(edges: list[tuple[int, int]], size: int) -> list[int]:
    """The least member of the component of each number."""
    found = list(range(size))
    for start in range(size):
        frontier = [start]
        while found[start] == start and frontier:
            here = frontier.pop()
            for a, b in [*edges, *((b, a) for a, b in edges)]:
                if a == here and found[b] > start:
                    found[b] = start
                    frontier.append(b)
    return found


@given(pairs, st.integers(0, 30))
def test_groups_are_the_connected_components_in_any_cutting(edges: list[tuple[int, int]], cut: int) -> None:
    groups = UnionFind(20)
    for part in (edges[:cut], edges[cut:]):
        groups.union(np.array([a for a, _ in part], np.int64), np.array([b for _, b in part], np.int64))
    assert groups.all_roots().tolist() == components(edges, 20)


def test_a_long_chain_is_one_group() -> None:
    groups = UnionFind(100_000)
    groups.union(np.arange(1, 100_000), np.arange(99_999))
    assert (groups.all_roots() == 0).all()


def test_roots_of_none() -> None:
    assert UnionFind(0).all_roots().tolist() == []
