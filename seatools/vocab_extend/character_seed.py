"""Characters first: one token for every character that the text uses and the base has to spell in pieces.

Without them byte fallback hides a script: 90.7 % of Mistral v1's tokens on Lao are bytes (vocab-embed.md 1a), and no
merge may join bytes of different characters. A byte-level base gets merges of the character's own tokens: of all ways
to bracket them (five for four parts) the one that needs the fewest new tokens, so prefixes are shared. White space and
control characters are left as the base has them: a new newline token would change every chat template.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

Tree = int | tuple["Tree", "Tree"]


def wanted_characters(counts: Mapping[str, int], min_count: int) -> list[str]:
    """Characters that occur `min_count` times, the most frequent first; no white space, controls or unassigned ones."""
    wanted = [char for char, count in counts.items() if count >= min_count and _is_text(char)]
    return sorted(wanted, key=lambda char: (-counts[char], char))


def _is_text(char: str) -> bool:
    category = unicodedata.category(char)
    # Format characters (Cf) are text: Khmer and Burmese words hold U+200B and U+200D.
    return category == "Cf" or category[0] not in "CZ"


@dataclass
class SeedMerges:
    """The merges that make characters of a byte-level base, in the order of their ranks."""

    first_id: int
    budget: int
    pieces: dict[int, str]
    """Symbol -> piece, for the base's symbols; the made ones are added."""
    taken: set[str]
    allowed: Callable[[int, int], bool]
    """Whether a pair may be merged (protected text forbids some)."""
    pairs: dict[tuple[int, int], int] = field(default_factory=dict)
    """(left, right) -> token."""
    _owners: dict[str, tuple[int, int]] = field(default_factory=dict)

    def make(self, parts: Sequence[int]) -> bool:
        """Add the merges that join `parts` (the base's tokens of one character); False if there is no way."""
        plans = [plan for tree in _bracketings(parts) if (plan := self._plan(tree)) is not None]
        if not plans:
            return False
        best = min(plans, key=len)  # the first of the shortest
        if len(self.pairs) + len(best) > self.budget:
            return False
        for pair in best:
            token = self.first_id + len(self.pairs)
            piece = self.pieces[pair[0]] + self.pieces[pair[1]]
            self.pairs[pair] = token
            self.pieces[token] = piece
            self._owners[piece] = pair
        return True

    def _plan(self, tree: Tree) -> list[tuple[int, int]] | None:
        """The pairs that are missing for `tree`, or None if one of its nodes cannot be made."""
        missing: list[tuple[int, int]] = []
        names: dict[int, str] = {}

        def walk(node: Tree) -> int | None:
            if isinstance(node, int):
                return node
            left, right = walk(node[0]), walk(node[1])
            if left is None or right is None:
                return None
            pair = (left, right)
            if pair in self.pairs:
                return self.pairs[pair]
            piece = names.get(left, self.pieces.get(left, "")) + names.get(right, self.pieces.get(right, ""))
            # A token made by two merges would have two expansions, one of the base's would no longer be the base's.
            if piece in self.taken or piece in self._owners or piece in names.values() or not self.allowed(*pair):
                return None
            token = self.first_id + len(self.pairs) + len(missing)
            missing.append(pair)
            names[token] = piece
            return token

        return None if walk(tree) is None else missing


def _bracketings(parts: Sequence[int]) -> Iterator[Tree]:
    """All binary trees over `parts`, the left fold first."""
    if len(parts) == 1:
        yield parts[0]
    for cut in range(len(parts) - 1, 0, -1):
        for left in _bracketings(parts[:cut]):
            for right in _bracketings(parts[cut:]):
                yield (left, right)
