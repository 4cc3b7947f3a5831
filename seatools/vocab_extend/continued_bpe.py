"""Continued BPE: new merges on top of a segmentation that exists already, most frequent pair first.

Symbols are base token ids; a merge joins two neighbours to a new id after all others, so merges keep their order. The
words are one linked list in numpy arrays. When a merge is applied, the new pairs beside it are grouped by one sort and
kept as slices (an `_Event`): a pair of two given symbols arises when the younger of them is made and only loses
occurrences afterwards, so the count noted then is an upper bound, and it is enough to recount a pair when it comes to
the top of the heap. Cost: some twenty numpy calls a merge and a sort of what changed; 17 bytes a symbol, 16 a pair.
Rare pairs wait outside the heap until the counts in it have fallen to theirs.
Two kinds of base differ in what a merge is: with a merge list (`joins=False`) a pair of symbols; where concatenation
decides (SentencePiece, tiktoken) any neighbours that spell the new piece join, and if they then spell a known piece
with their neighbour, that follows at once. A candidate is a pair in both; ties go to the smaller ids.
Source: Sennrich et al. 2016 (arXiv 1508.07909); continued: `taidopurason/tokenizer-extension` (arXiv 2512.03989).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Set
from dataclasses import dataclass

import numpy as np

from seatools.vocab_extend.known_pieces import KnownPieces
from seatools.vocab_extend.segments import BREAK, Segments

_GONE = -2
_ID_BITS = 28
_STREAM_BITS = 8
MAX_STREAMS = 1 << _STREAM_BITS
_MASK = (1 << _ID_BITS) - 1


@dataclass(frozen=True, slots=True)
class Merge:
    """A new token: `left` + `right` -> `token`; `count`: occurrences of the pair in `stream` when it was chosen."""

    left: int
    right: int
    token: int
    piece: str
    count: int
    stream: int


@dataclass(slots=True)
class _Event:
    """The pairs that one merge brought about, sorted by (left, right, stream)."""

    keys: np.ndarray  # [groups] uint64
    starts: np.ndarray  # [groups + 1] int32
    places: np.ndarray  # [pairs] int32: where the left symbol stands
    bounds: np.ndarray  # [groups] int64


class ContinuedBpe:
    """The state of one training run: make it, call `step` until it gives None.

    Streams keep counts apart (a language each); those from `num_training` on are only followed: they make no
    candidates, but their tokens are counted (held-out or parallel text).
    """

    def __init__(
        self,
        words: Segments,
        counts: np.ndarray,
        pieces: dict[int, str],
        taken: Set[str],
        *,
        first_id: int,
        may_merge: Callable[[int, int, str], bool],
        is_free: Callable[[int, int, str], bool] = lambda left, right, piece: True,
        min_count: int = 2,
        joins: dict[str, int] | None = None,
        streams: np.ndarray | None = None,
        num_streams: int = 1,
        num_training: int | None = None,
    ) -> None:
        """`words`: distinct words; `counts`: [words] how often each occurs (int64); `streams`: [words] whose it is.

        `pieces`: symbol -> piece, for every symbol in the words; new tokens are added to it. `taken`: pieces that no
        merge may make again. `may_merge(left, right, piece)`: asked when a pair comes to the top, and `is_free` if its
        count there is up to date, so that it would be the next merge. `joins`: where concatenation decides, the base's
        ordinary pieces -> ids; None for a base with a merge list.
        """
        self._pieces = pieces
        self._taken = set(taken)
        self._joins = None if joins is None else dict(joins)
        self.first_id = self._next_id = first_id
        self._may_merge, self._is_free = may_merge, is_free
        self._min_count = max(1, min_count)
        self._num_training = num_streams if num_training is None else num_training
        self._events: list[_Event] = []
        self._late: dict[tuple[int, int], list[int]] = {}
        self._heaps: list[list[tuple[int, int, int]]] = [[] for _ in range(num_streams)]
        self._link(words, counts, streams)
        self.num_tokens = count_tokens(words, counts, streams, num_streams)
        """[streams] tokens in the text as it is segmented now."""
        if self._joins is not None:
            self._known = KnownPieces(self._pieces, self._joins)
        self._floors = np.full(num_streams, np.iinfo(np.int64).max)  # nothing goes into the heaps yet
        starts = np.flatnonzero((self._symbols[:-1] >= 0) & (self._symbols[1:] >= 0)).astype(np.int32)
        self._note(starts)
        for stream in range(self._num_training):
            self._lower(stream, self._first_floor(stream))

    def _link(self, words: Segments, counts: np.ndarray, streams: np.ndarray | None) -> None:
        """One array of symbols with a break before the first word and after each one."""
        lengths = words.lengths
        long = lengths > 1
        kept = np.repeat(long, lengths)
        size = lengths[long] + 1
        total = int(size.sum()) + 1
        if total >= 1 << 31:
            raise OverflowError(f"{total} symbols in the distinct words; at most {1 << 31}")
        self._symbols = np.full(total, BREAK, np.int32)
        ends = np.cumsum(size)
        inside = np.ones(total, bool)
        inside[0] = False
        inside[ends] = False
        self._symbols[inside] = words.ids[kept]
        self._symbols[self._symbols < BREAK] = BREAK  # characters that got no token
        self._after = np.arange(1, total + 1, dtype=np.int32)
        self._before = np.arange(-1, total - 1, dtype=np.int32)
        self._word = np.zeros(total, np.int32)
        self._word[1:] = np.repeat(np.arange(len(size), dtype=np.int32), size)
        self._counts = counts[long].astype(np.int64)
        self._streams = np.zeros(len(size), np.uint8) if streams is None else streams[long].astype(np.uint8)

    def _first_floor(self, stream: int) -> int:
        """A count that about 100,000 of the pairs at the start reach."""
        event = self._events[0]
        bounds = event.bounds[(event.keys & np.uint64(MAX_STREAMS - 1)) == stream]
        if len(bounds) <= 100_000:
            return self._min_count
        return max(self._min_count, int(np.partition(bounds, -100_000)[-100_000]))

    def peek(self, stream: int) -> int:
        """How often the next merge of `stream` occurs; 0 if there is none. Up to date, so `step` will take it."""
        heap = self._heaps[stream]
        while True:
            floor = int(self._floors[stream])
            if not heap or -heap[0][0] < floor:
                if floor > self._min_count:
                    self._lower(stream, max(self._min_count, floor // 2 if not heap else min(floor // 2, -heap[0][0])))
                    continue
                if not heap:
                    return 0
            bound, key, event = heap[0]
            left, right = key >> _ID_BITS, key & _MASK
            piece = self._pieces[left] + self._pieces[right]
            if piece in self._taken or not self._may_merge(left, right, piece):
                heapq.heappop(heap)
                continue
            count = self._recount(left, right, stream)
            if count == -bound:
                if self._is_free(left, right, piece):
                    return count
                heapq.heappop(heap)
            elif count >= self._min_count:
                heapq.heapreplace(heap, (-count, key, event))
            else:
                heapq.heappop(heap)

    def step(self, stream: int = 0) -> Merge | None:
        """Make the most frequent pair of `stream` a token, everywhere; None if none occurs `min_count` times."""
        count = self.peek(stream)
        if not count:
            return None
        _, key, _ = heapq.heappop(self._heaps[stream])
        return self._make(key >> _ID_BITS, key & _MASK, count, stream)

    def force(self, left: int, right: int) -> Merge | None:
        """Make this pair a token whatever its count; None if it does not occur in the training text."""
        words = self._word[self._occurrences(left, right)]
        counts = np.bincount(self._streams[words], self._counts[words], len(self.num_tokens))[: self._num_training]
        stream = int(np.argmax(counts))
        return self._make(left, right, int(counts.sum()), stream) if counts[stream] else None

    def _make(self, left: int, right: int, count: int, stream: int) -> Merge:
        piece = self._pieces[left] + self._pieces[right]
        token = self._next_id
        self._next_id += 1
        self._taken.add(piece)
        self._pieces[token] = piece
        if self._joins is not None:
            self._joins[piece] = token
            self._known.add(token, piece)
        self._apply(left, right, token, piece)
        return Merge(left, right, token, piece, count, stream)

    def learn(self, num_tokens: int) -> list[Merge]:
        """Up to `num_tokens` merges of the first stream."""
        merges: list[Merge] = []
        while len(merges) < num_tokens and (merge := self.step()) is not None:
            merges.append(merge)
        return merges

    def words(self) -> tuple[Segments, np.ndarray, np.ndarray]:
        """The words (of two symbols or more at the start) as they are segmented now, their counts and their streams.

        A word that a character without a token divides comes as its parts.
        """
        standing = self._symbols != _GONE
        symbols, owners = self._symbols[standing], self._word[standing]
        kept = symbols >= 0
        ends = np.flatnonzero(~kept)[1:]
        numbers = np.cumsum(kept)
        offsets = np.concatenate([[0], numbers[ends]])
        full = np.flatnonzero(np.diff(offsets))
        words = owners[ends[full]]
        cuts = np.concatenate([[0], offsets[full + 1]])
        return Segments(symbols[kept], cuts), self._counts[words], self._streams[words]

    def _born(self, symbol: int) -> int:
        """The event in which pairs with `symbol` begin."""
        return max(0, symbol - self.first_id + 1)

    def _places_in(self, event: _Event, low: int, high: int) -> np.ndarray:
        first, last = np.searchsorted(event.keys, np.array([low, high], np.uint64))
        return event.places[event.starts[first] : event.starts[last]]

    def _standing(self, places: np.ndarray, left: int, right: int) -> np.ndarray:
        """Those of `places` where the pair still stands."""
        places = places[self._symbols[places] == left]
        return places[self._symbols[self._after[places]] == right]

    def _recount(self, left: int, right: int, stream: int) -> int:
        places = self._occurrences(left, right, stream)
        return int(self._counts[self._word[places]].sum())

    def _occurrences(self, left: int, right: int, stream: int | None = None) -> np.ndarray:
        """Where the pair stands now, each place once, in one stream or in all; sorted only within a stream."""
        low = (left << _ID_BITS | right) << _STREAM_BITS | (stream or 0)
        high = low + (MAX_STREAMS if stream is None else 1)
        first = max(self._born(left), self._born(right))
        late = self._late.get((left, right))
        if late is None:
            return self._standing(self._places_in(self._events[first], low, high), left, right)
        found = [self._places_in(self._events[number], low, high) for number in (first, *late)]
        return np.unique(self._standing(np.concatenate(found), left, right))

    def _apply(self, left: int, right: int, token: int, piece: str) -> None:
        """Join the pair (or whatever spells the piece) everywhere, from left to right, and note the new pairs."""
        if self._joins is None:
            places = self._occurrences(left, right)
        else:
            splits = ((self._joins.get(piece[:cut]), self._joins.get(piece[cut:])) for cut in range(1, len(piece)))
            known = [self._occurrences(a, b) for a, b in splits if a is not None and b is not None]
            places = np.concatenate(known)
        places = np.sort(places)  # from left to right
        symbols, after, before = self._symbols, self._after, self._before
        if len(places) > 1:
            places = _without_overlaps(places, after)
        gone = after[places]
        following = after[gone]
        symbols[places], symbols[gone] = token, _GONE
        after[places] = following
        before[following] = places
        self._count_joins(places)
        previous = before[places]
        starts = [previous[symbols[previous] >= 0], places[(symbols[following] >= 0) & (symbols[following] != token)]]
        # (token, token) is noted once, as the pair before the second one.
        self._note(np.concatenate(starts))

    def _count_joins(self, places: np.ndarray) -> None:
        words = self._word[places]
        joined = np.bincount(self._streams[words], self._counts[words], len(self.num_tokens))
        self.num_tokens -= joined.astype(np.int64)

    def _note(self, places: np.ndarray) -> None:
        """A new event of the pairs that begin at `places`; where concatenation decides, known pieces join first."""
        if self._joins is not None:
            places = self._follow(places)
        symbols = self._symbols
        left, right = symbols[places].astype(np.uint64), symbols[self._after[places]].astype(np.uint64)
        keys = (left << np.uint64(_ID_BITS) | right) << np.uint64(_STREAM_BITS)
        keys |= self._streams[self._word[places]]
        order = np.argsort(keys, kind="stable")
        keys, places = keys[order], places[order]
        starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])) if len(keys) else np.zeros(0, np.int64)
        weights = self._counts[self._word[places]]
        bounds = np.add.reduceat(weights, starts) if len(starts) else np.zeros(0, np.int64)
        number = len(self._events)
        keys, ends = keys[starts], np.concatenate([starts, [len(places)]]).astype(np.int32)
        if self._joins is not None:
            self._note_late(keys, bounds, number)
        self._events.append(_Event(keys, ends, places.astype(np.int32), bounds))
        self._offer(number, bounds >= self._floors[keys & np.uint64(MAX_STREAMS - 1)])

    def _note_late(self, keys: np.ndarray, bounds: np.ndarray, number: int) -> None:
        """Remember pairs that arise a second time, and add to their bounds what stands of them already."""
        left, right = keys >> np.uint64(_ID_BITS + _STREAM_BITS), keys >> np.uint64(_STREAM_BITS) & np.uint64(_MASK)
        born = np.maximum(np.maximum(left, right).astype(np.int64) - self.first_id + 1, 0)
        for group in np.flatnonzero(born != number).tolist():
            a, b, stream = int(left[group]), int(right[group]), int(keys[group]) & MAX_STREAMS - 1
            bounds[group] += self._recount(a, b, stream)
            numbers = self._late.setdefault((a, b), [])
            if number not in numbers:
                numbers.append(number)

    def _offer(self, number: int, chosen: np.ndarray) -> None:
        """Put the chosen pairs of an event into the heaps. `chosen`: [groups] bool."""
        if not chosen.any():
            return
        event = self._events[number]
        for key, bound in zip(event.keys[chosen].tolist(), event.bounds[chosen].tolist(), strict=True):
            heapq.heappush(self._heaps[key & MAX_STREAMS - 1], (-bound, key >> _STREAM_BITS, number))

    def _lower(self, stream: int, floor: int) -> None:
        """Let pairs of `floor` occurrences into the heap."""
        below = self._floors[stream]
        self._floors[stream] = floor
        for number, event in enumerate(self._events):
            chosen = (event.bounds >= floor) & (event.bounds < below)
            if chosen.any():
                self._offer(number, chosen & (event.keys & np.uint64(MAX_STREAMS - 1) == stream))

    def _follow(self, places: np.ndarray) -> np.ndarray:
        """Join at once what spells a known piece, best piece (lowest id) first; the pairs to note after that."""
        assert self._joins is not None
        symbols, after, before = self._symbols, self._after, self._before
        known = self._known.spelled_by(symbols[places], symbols[after[places]])
        if not known.any():
            return places
        kept = set(places.tolist())
        for at in sorted(places[known].tolist()):
            while at >= 0 and symbols[at] >= 0:
                options = []
                for place in (at, int(before[at])):
                    if place >= 0 and symbols[place] >= 0 and symbols[after[place]] >= 0:
                        piece = self._pieces[int(symbols[place])] + self._pieces[int(symbols[after[place]])]
                        if piece in self._joins:
                            options.append((self._joins[piece], place))
                if not options:
                    break
                token, at = min(options)
                gone = int(after[at])
                following = int(after[gone])
                symbols[at], symbols[gone] = token, _GONE
                after[at], before[following] = following, at
                self._count_joins(np.array([at]))
                kept.update((at, int(before[at])))
        found = np.array(sorted(place for place in kept if place >= 0), np.int32)
        return found[(symbols[found] >= 0) & (symbols[after[found]] >= 0)]


def count_tokens(words: Segments, counts: np.ndarray, streams: np.ndarray | None, num_streams: int) -> np.ndarray:
    """[streams] int64: how many tokens the words stand for; an unknown character counts as its UTF-8 bytes."""
    chars = BREAK - 1 - words.ids
    sizes = 1 + (chars >= 0x80) + (chars >= 0x800) + (chars >= 0x10000)
    weights = np.where(words.ids == BREAK, 0, np.where(words.ids >= 0, 1, sizes)) * np.repeat(counts, words.lengths)
    owners = np.zeros(len(words.ids), np.int64) if streams is None else np.repeat(streams, words.lengths)
    return np.bincount(owners, weights, num_streams).astype(np.int64)


def _without_overlaps(places: np.ndarray, after: np.ndarray) -> np.ndarray:
    """`places` (sorted) without those whose left symbol an earlier one has taken: a a a a -> the first and third."""
    touching = after[places[:-1]] == places[1:]
    if not touching.any():
        return places
    # In a run of touching places every second one stands.
    run_starts = np.concatenate([[True], ~touching])
    first = np.maximum.accumulate(np.where(run_starts, np.arange(len(places)), 0))
    kept: np.ndarray = places[(np.arange(len(places)) - first) % 2 == 0]
    return kept
