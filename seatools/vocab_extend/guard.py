"""Which merges may be made: asked only about a pair that has come to the top, so it may take its time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from seatools.text.scripts import script_of
from seatools.vocab_extend.segments import Segments

_BITS = 32


class ProtectedPairs:
    """The neighbours that occur in text whose encoding must stay. Memory: 8 bytes a distinct pair."""

    def __init__(self, words: Segments | None = None) -> None:
        ids = np.zeros(0, np.int64) if words is None else words.ids.astype(np.int64)
        inside = np.ones(max(0, len(ids) - 1), bool)
        if words is not None and len(ids):
            ends = words.offsets[1:-1]
            inside[ends[(ends > 0) & (ends < len(ids))] - 1] = False
        both = inside & (ids[:-1] >= 0) & (ids[1:] >= 0) if len(ids) else inside
        self.keys = np.unique(ids[:-1][both] << _BITS | ids[1:][both]) if len(ids) else ids
        self.chars = frozenset(np.unique(ids[ids < -1]).tolist())
        """Symbols of characters without a token."""

    def __contains__(self, pair: tuple[int, int]) -> bool:
        key = pair[0] << _BITS | pair[1]
        at = int(np.searchsorted(self.keys, key))
        return at < len(self.keys) and int(self.keys[at]) == key


@dataclass
class Guard:
    """`may_merge` of continued BPE."""

    data: Callable[[str], bytes]
    """Piece -> the bytes that it stands for."""
    pieces: Mapping[int, str]
    protected: ProtectedPairs
    joins: Mapping[str, int] | None
    """Where concatenation decides: the base's pieces -> ids."""
    max_bytes: int = 48
    whole_characters: bool = True
    scripts: frozenset[str] | None = None
    """Writing systems whose letters a new token may have; None: any."""
    only: Collection[str] | None = None
    """The pieces that may be made (methods donor and merge); None: any."""
    base_rule: Callable[[str, str, str], bool] = lambda left, right, piece: True
    """What the kind of base asks for, of the two parts and the piece."""
    refused: list[tuple[int, int]] = field(default_factory=list)
    """Protected pairs that would have been merged."""
    waiting: list[tuple[int, int, tuple[int, int]]] = field(default_factory=list)
    """(stream, occurrences, protected pair) for pairs that a method leaves out before the learner could ask."""

    def __call__(self, left: int, right: int, piece: str) -> bool:
        """Whether `left` + `right` -> `piece` may be a merge."""
        return self.is_wanted(left, right, piece) and self.is_free(left, right, piece)

    def is_wanted(self, left: int, right: int, piece: str) -> bool:
        """The same, protected text apart."""
        if self.only is not None and piece not in self.only:
            return False
        return self.allows(self.pieces[left], self.pieces[right], piece)

    def is_free(self, left: int, right: int, piece: str) -> bool:
        """Whether protected text leaves room for it; if not, that is remembered: ask only for what would be next."""
        protected = self.protected_pairs(left, right, piece)
        self.refused += protected
        return not protected

    def settle(self, least: Mapping[int, int], min_count: int) -> None:
        """Count those that are waiting as refused, if they occur as often as what was made. `least`: stream -> count of
        its last merge; `min_count`: for the other streams."""
        self.refused += [pair for stream, count, pair in self.waiting if count >= least.get(stream, min_count)]
        self.waiting.clear()

    def allows(self, left: str, right: str, piece: str) -> bool:
        """Whether the piece may be a token, protected text apart."""
        data = self.data(piece)
        return len(data) <= self.max_bytes and self.text_allowed(data) and self.base_rule(left, right, piece)

    def text_allowed(self, data: bytes) -> bool:
        """Whether a token may be written so: whole characters, not white space alone, letters of the scripts."""
        try:
            text = data.decode()
        except UnicodeDecodeError:
            if self.whole_characters:
                return False
            text = data.decode("utf-8", "ignore")
        if text.isspace():
            return False  # indentation and line breaks are the base's own
        return self.scripts is None or all((script := script_of(c)) is None or script in self.scripts for c in text)

    def protected_pairs(self, left: int, right: int, piece: str) -> list[tuple[int, int]]:
        """The pairs in protected text on which the merge would fire."""
        pairs = [(left, right)]
        if self.joins is not None:
            ids = [(self.joins.get(piece[:cut]), self.joins.get(piece[cut:])) for cut in range(1, len(piece))]
            pairs = [(a, b) for a, b in ids if a is not None and b is not None]
        return [pair for pair in pairs if pair in self.protected]
