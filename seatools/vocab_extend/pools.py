"""Which pieces the methods `donor` and `merge` want, found in the words as they are segmented now.

The learner then makes them in order of frequency, and nothing else, so that each can be made where it stands. It may
join across the trees found here; what it leaves is looked at again, until nothing more comes of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

import numpy as np

from seatools.vocab_extend.bracketing import close, worthwhile
from seatools.vocab_extend.continued_bpe import ContinuedBpe
from seatools.vocab_extend.donor_merge import exhaustive_merge, tf_idf
from seatools.vocab_extend.guard import Guard, ProtectedPairs
from seatools.vocab_extend.new_token import Origin
from seatools.vocab_extend.segments import Segments
from seatools.vocab_extend.trained_merge import trained_pieces
from seatools.vocab_extend.wanted_pieces import aligned, choose, prune

Pieces = tuple[str, ...]


@dataclass
class DonorPool:
    """SeaLLMs: what the exhaustive merge finds of a donor's vocabulary, pruned by frequency or TF-IDF."""

    donor: Collection[str]
    """The donor's pieces in the base's spelling."""
    num_streams: int
    """Training streams."""
    guard: Guard
    others: Sequence[Mapping[Pieces, int]] = ()
    """Words of other languages, for `by_tf_idf`."""
    by_tf_idf: bool = False
    min_count: int = 2
    chars: Collection[str] | None = None

    def wanted(
        self, words: Segments, counts: np.ndarray, streams: np.ndarray, pieces: Mapping[int, str], budget: int
    ) -> AbstractSet[str]:
        """The pieces that may be made, with all their steps."""
        donor, known = set(self.donor), set(pieces.values())
        allowed = _by_piece(self.guard, pieces)
        own = [as_pieces(words, counts, pieces, streams == number) for number in range(self.num_streams)]
        found = [exhaustive_merge(part, donor, known, allowed) for part in own]
        for number, merged in enumerate(found):
            _note_refused(self.guard, merged.refused, number, pieces)
        elsewhere = [exhaustive_merge(part, donor, known, allowed).counts for part in self.others]
        pool: set[str] = set()
        for number, merged in enumerate(found):
            if self.by_tf_idf:
                rest = [other.counts for at, other in enumerate(found) if at != number] + elsewhere
                scores = {
                    piece: score for piece, score in tf_idf(merged.counts, rest).items() if score >= self.min_count
                }
                pool |= choose(scores, merged.parents, max(1, budget // self.num_streams))
            else:
                by_count = {piece: float(merged.counts.get(piece, 0)) for piece in merged.made}
                pool |= prune(by_count, merged.parents, self.min_count)
        return pool

    def origin(self, piece: str) -> Origin:
        """Every merge makes a piece of the donor."""
        return "donor"


@dataclass
class TrainedPool:
    """SambaLingo: what a vocabulary trained on the text has and the base lacks, with helpers for missing steps."""

    characters: Callable[[str], Sequence[str]]
    """A word or piece -> its characters, in the base's spelling."""
    num_streams: int
    guard: Guard
    rule: Callable[[str, str, str], bool]
    """Which merges the trained vocabulary may make."""
    vocab_size: int = 25_000
    min_count: int = 2
    chars: Collection[str] | None = None
    trained: list[set[str]] = field(default_factory=list)
    """[training streams] the pieces that were trained, found once."""

    def wanted(
        self, words: Segments, counts: np.ndarray, streams: np.ndarray, pieces: Mapping[int, str], budget: int
    ) -> AbstractSet[str]:
        """The pieces that may be made: all of the trained ones, and the helpers that pay."""
        known = set(pieces.values())
        allowed = _by_piece(self.guard, pieces)
        own = [as_pieces(words, counts, pieces, streams == number) for number in range(self.num_streams)]
        if not self.trained:
            self.trained = [
                {
                    found.piece
                    for found in trained_pieces(part, known, self._train, self.characters, vocab_size=self.vocab_size)
                }
                for part in own
            ]
        pool: set[str] = set()
        for number, part in enumerate(own):
            closure = close(aligned(part, self.trained[number] - known), known, allowed)
            # All that is trained may be made: leaving out what saves little cost 3 % of Thai's bytes per token.
            pool |= self.trained[number] | worthwhile(closure, self.min_count)
        return pool

    def _train(self, words: Mapping[Pieces, int], num_merges: int) -> list[tuple[str, str, str, int]]:
        """BPE from characters, by the same learner."""
        alphabet = sorted({char for word in words for char in word})
        ids = {char: number for number, char in enumerate(alphabet)}
        pieces = dict(enumerate(alphabet))
        own = Guard(
            self.guard.data, pieces, ProtectedPairs(), None, max_bytes=self.guard.max_bytes,
            scripts=self.guard.scripts, base_rule=self.rule,
        )  # fmt: skip
        learner = ContinuedBpe(
            Segments.of([[ids[char] for char in word] for word in words]),
            np.fromiter(words.values(), np.int64, len(words)),
            pieces,
            set(alphabet),
            first_id=len(alphabet),
            may_merge=own,
        )
        return [(pieces[m.left], pieces[m.right], m.piece, m.count) for m in learner.learn(num_merges)]

    def origin(self, piece: str) -> Origin:
        """A piece of the trained vocabulary, or a step to one."""
        return "trained" if any(piece in own for own in self.trained) else "helper"


def as_pieces(words: Segments, counts: np.ndarray, pieces: Mapping[int, str], chosen: np.ndarray) -> dict[Pieces, int]:
    """The chosen words as tuples of pieces -> their counts. `chosen`: [words] bool."""
    found: dict[Pieces, int] = {}
    ids, offsets = words.ids.tolist(), words.offsets.tolist()
    for number in np.flatnonzero(chosen).tolist():
        word = tuple([pieces[id] for id in ids[offsets[number] : offsets[number + 1]] if id >= 0])
        found[word] = found.get(word, 0) + int(counts[number])
    return found


def _by_piece(guard: Guard, pieces: Mapping[int, str]) -> Callable[[str, str, str], bool]:
    """The guard asked with pieces; those that are not made yet have no id and cannot be protected."""
    ids = {piece: id for id, piece in pieces.items()}

    def allowed(left: str, right: str, piece: str) -> bool:
        if not guard.allows(left, right, piece):
            return False
        return not guard.protected_pairs(ids.get(left, -1), ids.get(right, -1), piece)

    return allowed


def _note_refused(guard: Guard, refused: Mapping[tuple[str, str], int], stream: int, pieces: Mapping[int, str]) -> None:
    """Leave word of the protected pairs that the learner will not see, as the pool has no piece of them."""
    ids = {piece: id for id, piece in pieces.items()}
    for (left, right), count in refused.items():
        if guard.allows(left, right, left + right):
            protected = guard.protected_pairs(ids.get(left, -1), ids.get(right, -1), left + right)
            guard.waiting += [(stream, count, pair) for pair in protected]
