"""Groups from pairs: union-find on one numpy array, many pairs at a time.

Every member points at an earlier one of its group or, the first, at itself; roots only ever point further down, so the
root of a group is its least member and the groups do not depend on the order or the cutting of the pairs. A call
follows pointers for the pairs it was given, not for all members: about O(pairs * log), 8 bytes a member.
"""

from __future__ import annotations

import numpy as np


class UnionFind:
    """Groups of the numbers 0 to `size` - 1, each alone at first."""

    def __init__(self, size: int) -> None:
        self._parent = np.arange(size, dtype=np.int64)

    def roots(self, members: np.ndarray) -> np.ndarray:
        """The least member of the group of each of `members` [n] int64."""
        parent = self._parent
        found = members
        while True:
            above = parent[found]
            root = parent[above]
            if np.array_equal(above, root):
                break
            parent[found] = root  # halves the way for whoever comes next: a chain of n takes log n rounds
            found = root
        parent[members] = root
        return root

    def union(self, a: np.ndarray, b: np.ndarray) -> None:
        """Make one group of the groups of a[i] and b[i], for each i; a, b: [n] int64."""
        while len(a):
            a, b = self.roots(a), self.roots(b)
            apart = a != b
            a, b = a[apart], b[apart]
            np.minimum.at(self._parent, np.maximum(a, b), np.minimum(a, b))

    def all_roots(self) -> np.ndarray:
        """`roots` of every number, [size] int64."""
        return self.roots(np.arange(len(self._parent), dtype=np.int64))
