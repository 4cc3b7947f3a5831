"""SambaLingo's way: a vocabulary trained on the target text from scratch, of which the base gets what it lacks.

arXiv 2404.05829 and its model cards: BPE on the target language, up to 25,000 of its pieces that the base does not
have, as a union. Appended as they are, with their own merges, 23 % of such pieces could never be made (vocab-embed.md
0.1); here they are only wanted pieces, for `bracketing.close` to find a way to over the base's own tokens. Words are
the base's, so that no piece crosses one, and are cut to whole characters for byte-level bases too: a token of part of
a character is never wanted. One vocabulary for one language: its size includes its characters, as in sentencepiece.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

Pieces = tuple[str, ...]
Learner = Callable[[Mapping[Pieces, int], int], Sequence[tuple[str, str, str, int]]]
"""(words as symbols -> count, how many merges at most) -> (left, right, piece, count), most frequent first."""


@dataclass(frozen=True, slots=True)
class Trained:
    """One piece of the trained vocabulary that the base lacks."""

    piece: str
    rank: int
    """Its place among the trained vocabulary's merges, those that make a piece of the base counted."""
    count: int
    """Occurrences of the pair when it was joined, in the trained vocabulary's own segmentation."""


def trained_pieces(
    words: Mapping[Pieces, int],
    known: AbstractSet[str],
    learner: Learner,
    characters: Callable[[str], Sequence[str]],
    *,
    vocab_size: int = 25_000,
) -> list[Trained]:
    """Pieces of more than one character, in the order of their merges; characters are the character seed's task.

    `words`: distinct words as the base's pieces -> occurrences. `known`: the base's pieces. `characters(word)`: the
    characters of a word, in the base's spelling. `vocab_size`: characters and merges together.
    """
    cut: dict[Pieces, int] = defaultdict(int)
    for word, count in words.items():
        cut[tuple(characters("".join(word)))] += count
    alphabet = {char for word in cut for char in word}
    merges = learner(cut, max(0, vocab_size - len(alphabet)))
    return [Trained(piece, rank, count) for rank, (_, _, piece, count) in enumerate(merges) if piece not in known]
