"""Continued BPE: new merges on top of a segmentation that exists already, most frequent pair first.

Symbols are base token ids; a merge joins two neighbours to a new id after all others. Two kinds of base differ in what
a merge is. With an explicit merge list (byte-level BPE, tokenizer.json) it is a pair of symbols. SentencePiece has no
list: any neighbours whose concatenation is a piece join, so there a merge is the concatenation, whatever its parts
(`joins`), and a join that makes a known piece with its neighbour follows at once.
The words are one linked list in flat arrays (20 bytes a symbol and 4 a place of a pair), counts change only around a
join, and the heap is refreshed when an outdated entry comes up: O(symbols + joins) dictionary steps in all. Counts
are those of neighbouring pairs, overlaps included. Ties go to the smaller piece, then the smaller ids.
Source: Sennrich et al. 2016 (arXiv 1508.07909); continued: `taidopurason/tokenizer-extension` (arXiv 2512.03989).
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_NONE = -1  # no neighbour; no candidate
_GONE = -1  # a symbol swallowed by the one before it


@dataclass(frozen=True, slots=True)
class Merge:
    """A new token: `left` + `right` -> `token`; `count`: how often the pair stood in the words when it was chosen."""

    left: int
    right: int
    token: int
    piece: str
    count: int


class ContinuedBpe:
    """The state of one training run. Make it, call `learn` (again for more)."""

    def __init__(
        self,
        words: Mapping[tuple[int, ...], int],
        pieces: dict[int, str],
        taken: set[str],
        *,
        first_id: int,
        may_merge: Callable[[int, int, str], bool],
        joins: Mapping[str, int] | None = None,
    ) -> None:
        """`words`: segmented words -> how often each occurs; no merge crosses a word's end.

        `pieces`: symbol -> piece, for every symbol in the words; new tokens are added to it. `taken`: pieces that no
        merge may make again.
        `may_merge(left, right, piece)`: asked once for every pair that occurs. `joins`: for a SentencePiece base its
        ordinary pieces -> ids; None for a base with a merge list.
        """
        self._pieces = pieces
        self._taken = set(taken)
        self._joins = None if joins is None else dict(joins)
        self._next_id = first_id
        self._may_merge = may_merge
        self._pairs: dict[int, int] = {}  # left << 32 | right -> candidate, _NONE, or -2 - id of a known piece
        self._by_piece: dict[str, int] = {}  # SentencePiece only: piece -> candidate
        self._candidates: list[tuple[str, int, int]] = []  # piece, and the first pair seen to make it
        self._counts: list[int] = []
        self._places: list[array[int]] = []
        self._touched: set[int] = set()
        self._heap: list[tuple[int, str, int, int, int]] = []
        self._link(words)

    def _link(self, words: Mapping[tuple[int, ...], int]) -> None:
        self._symbols, self._before, self._after = array("i"), array("i"), array("i")
        self._weights = array("q")
        for word, count in words.items():
            size = len(word)
            if size < 2:
                continue
            start = len(self._symbols)
            self._symbols.extend(word)
            self._before.append(_NONE)
            self._before.extend(range(start, start + size - 1))
            self._after.extend(range(start + 1, start + size))
            self._after.append(_NONE)
            self._weights.extend([count] * size)
        for at, next_at in enumerate(self._after):
            if next_at != _NONE:
                self._add(at, next_at)

    def learn(self, num_tokens: int, min_count: int) -> list[Merge]:
        """Up to `num_tokens` merges in the order of their ranks; fewer when no pair occurs `min_count` times."""
        merges: list[Merge] = []
        self._offer(min_count)
        while len(merges) < num_tokens and self._heap:
            negative, piece, left, right, candidate = heapq.heappop(self._heap)
            count = self._counts[candidate]
            if -negative != count:
                # Outdated. If the count has grown, an entry with the new count is in the heap already.
                if min_count <= count < -negative:
                    heapq.heappush(self._heap, (-count, piece, left, right, candidate))
                continue
            if piece in self._taken:
                self._counts[candidate] = 0
                continue
            token = self._next_id
            self._next_id += 1
            self._taken.add(piece)
            self._pieces[token] = piece
            if self._joins is not None:
                self._joins[piece] = token
            merges.append(Merge(left, right, token, piece, count))
            self._apply(candidate, token)
            self._offer(min_count)
        return merges

    def words(self) -> dict[tuple[int, ...], int]:
        """The words (of two symbols or more at the start) as they are segmented now."""
        result: dict[tuple[int, ...], int] = {}
        for start, before in enumerate(self._before):
            if before != _NONE or self._symbols[start] == _GONE:
                continue
            word, at = [], start
            while at != _NONE:
                word.append(self._symbols[at])
                at = self._after[at]
            key = tuple(word)
            result[key] = result.get(key, 0) + self._weights[start]
        return result

    def _offer(self, min_count: int) -> None:
        """Put the candidates whose count has grown into the heap."""
        for candidate in self._touched:
            count = self._counts[candidate]
            if count >= min_count:
                heapq.heappush(self._heap, (-count, *self._candidates[candidate], candidate))
        self._touched.clear()

    def _apply(self, candidate: int, token: int) -> None:
        """Join the pair everywhere, from left to right."""
        places, self._places[candidate] = self._places[candidate], array("i")
        symbols, after, pairs = self._symbols, self._after, self._pairs
        for at in sorted(places):
            next_at = after[at]
            left = symbols[at]
            # A place may have changed since it was noted, or be noted twice.
            if left == _GONE or next_at == _NONE or pairs.get(left << 32 | symbols[next_at]) != candidate:
                continue
            self._join(at, token)
            if self._joins is not None:
                self._follow(at)
        self._counts[candidate] = 0

    def _join(self, at: int, token: int) -> None:
        """Put `token` in place of the symbol at `at` and the next one."""
        symbols, before, after = self._symbols, self._before, self._after
        next_at = after[at]
        previous, following = before[at], after[next_at]
        weight = self._weights[at]
        if previous != _NONE:
            self._drop(symbols[previous], symbols[at], weight)
        if following != _NONE:
            self._drop(symbols[next_at], symbols[following], weight)
            before[following] = at
        symbols[at], symbols[next_at] = token, _GONE
        after[at] = following
        if previous != _NONE:
            self._add(previous, at)
        if following != _NONE:
            self._add(at, following)

    def _follow(self, at: int) -> None:
        """SentencePiece: join the symbol at `at` with a neighbour while that makes a known piece, best piece first.

        Earlier ids have higher scores in every model seen (and in ours by construction).
        """
        while True:
            options = [
                (token, place)
                for place in (self._before[at], at)
                if place != _NONE and (token := self._known(place)) is not None
            ]
            if not options:
                return
            token, at = min(options)
            self._join(at, token)

    def _known(self, at: int) -> int | None:
        next_at = self._after[at]
        if next_at == _NONE:
            return None
        candidate = self._pairs.get(self._symbols[at] << 32 | self._symbols[next_at], _NONE)
        if candidate < _NONE:
            return -2 - candidate
        assert self._joins is not None
        return None if candidate == _NONE else self._joins.get(self._candidates[candidate][0])

    def _drop(self, left: int, right: int, weight: int) -> None:
        candidate = self._pairs.get(left << 32 | right, _NONE)
        if candidate >= 0:
            self._counts[candidate] -= weight

    def _add(self, at: int, next_at: int) -> None:
        left, right = self._symbols[at], self._symbols[next_at]
        key = left << 32 | right
        candidate = self._pairs.get(key)
        if candidate is None:
            candidate = self._pairs[key] = self._candidate(left, right)
        if candidate >= 0:
            self._counts[candidate] += self._weights[at]
            self._places[candidate].append(at)
            self._touched.add(candidate)

    def _candidate(self, left: int, right: int) -> int:
        piece = self._pieces[left] + self._pieces[right]
        if self._joins is not None:
            if piece in self._by_piece:
                return self._by_piece[piece]
            if piece in self._joins:
                return -2 - self._joins[piece]
        if piece in self._taken or not self._may_merge(left, right, piece):
            return _NONE
        candidate = len(self._candidates)
        self._candidates.append((piece, left, right))
        self._counts.append(0)
        self._places.append(array("i"))
        if self._joins is not None:
            self._by_piece[piece] = candidate
        return candidate
