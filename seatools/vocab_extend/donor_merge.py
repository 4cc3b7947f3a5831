"""SeaLLMs' exhaustive merge: the pieces of a donor's vocabulary that the base's own tokens of the text join to.

Algorithm 1 of arXiv 2312.00738 (papers.md 1.1) joins the leftmost pair whose concatenation is in the donor and starts
over. All pairs left of a join are known not to join, so only the pair that ends in the new piece is looked at again: a
stack, at most two look-ups a symbol (a test compares it with starting over). Where the printed algorithm is silent or
wrong: it stops when nothing joins; every word starts from the base's tokens, so the order of documents does not matter;
pieces are counted in the final sequences. A piece of the base is never made: the base's merges refused it there, and no
new merge may make it (o200k into Qwen2 and Mistral v1, four languages: no piece lost by that). A piece has the same
tree wherever it occurs, so `parents` holds one pair for each, and what is found needs no helpers.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from seatools.streams.errors import SeaError, UsageError
from seatools.text.sentencepiece_model import SentencePieceTokenizer
from seatools.text.tokenizer import Tokenizer

_NORMAL = 1  # ModelProto.SentencePiece.Type

Pieces = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Merged:
    """What the exhaustive merge found."""

    counts: dict[str, int]
    """Every piece of the final sequences, the base's too -> occurrences in the text."""
    documents: dict[str, int]
    """The same -> documents; empty unless they were given. A document is counted for each of its distinct words."""
    made: dict[str, int]
    """Every piece that was made, on the way to longer ones too -> how often. The new pieces are its keys."""
    parents: dict[str, tuple[str, str]]
    """Every made piece -> the two that it joins, each a base token of the text or made itself."""
    refused: dict[tuple[str, str], int]
    """Pairs that the donor would join and `allowed` forbids -> how often they came up."""


def donor_pieces(donor: Tokenizer, spelling: Callable[[bytes], str | None]) -> set[str]:
    """The donor's ordinary pieces of whole characters, as the base spells them.

    `spelling(data)`: UTF-8 bytes -> piece of the base (` ไทย` -> `▁ไทย`), None for what the base cannot hold.
    No special, added, user-defined or byte-fallback pieces.
    """
    outside = set(donor.special_ids.values()) | donor.byte_ids | {donor.unk_id}
    outside |= {token.id for token in getattr(donor, "added_tokens", ())}
    if isinstance(donor, SentencePieceTokenizer):
        outside |= {id for id, piece in enumerate(donor.model_proto.pieces) if piece.type != _NORMAL}
    pieces: set[str] = set()
    for id in range(donor.vocab_size):
        if id in outside:
            continue
        try:
            data = donor.piece_bytes(id)
            data.decode()
        except (SeaError, UnicodeDecodeError):  # an id that no piece has; part of a character
            continue
        if data and (piece := spelling(data)):
            pieces.add(piece)
    return pieces


def exhaustive_merge(
    words: Mapping[Pieces, int],
    donor: AbstractSet[str],
    known: AbstractSet[str],
    allowed: Callable[[str, str, str], bool] = lambda left, right, piece: True,
    documents: Mapping[Pieces, int] | None = None,
) -> Merged:
    """Join neighbours in every word while the donor has their concatenation, the leftmost first.

    `words`: distinct words, as the base's pieces with whole characters in place of bytes -> occurrences. `documents`:
    the same words -> number of documents. `known`: the base's pieces. `allowed(left, right, piece)`: asked once for
    every merge that the donor would make. O(symbols); 0.4 s per million.
    """
    wanted = donor - known
    verdicts: dict[tuple[str, str], bool] = {}
    counts: dict[str, int] = defaultdict(int)
    made: dict[str, int] = defaultdict(int)
    num_documents: dict[str, int] = defaultdict(int)
    parents: dict[str, tuple[str, str]] = {}
    refused: dict[tuple[str, str], int] = defaultdict(int)
    for word, count in words.items():
        done: list[str] = []  # no two neighbours in it join
        for piece in word:
            while done and (joined := done[-1] + piece) in wanted:
                pair = done[-1], piece
                verdict = verdicts.get(pair)
                if verdict is None:
                    verdict = verdicts[pair] = allowed(*pair, joined)
                if not verdict:
                    refused[pair] += count
                    break
                done.pop()
                if joined not in parents:
                    parents[joined] = pair
                made[joined] += count
                piece = joined
            done.append(piece)
        for piece in done:
            counts[piece] += count
        if documents is not None:
            weight = documents[word]
            for piece in set(done):
                num_documents[piece] += weight
    return Merged(dict(counts), dict(num_documents), dict(made), parents, dict(refused))


def tf_idf(target: Mapping[str, int], others: Sequence[Mapping[str, int]]) -> dict[str, float]:
    """Scores of the pieces of one language's text, lower for those that other languages use as well.

    `target`, `others`: `Merged.counts` of its text, and of the text of each language that the base knows already. Our
    extension: the paper prunes by frequency alone, to the same end. tf is the count in the target's text. The documents
    of idf are the `1 + len(others)` languages; each other one counts by how common the piece is there (as a share of
    all pieces) against the target, from 0 to 1: one stray loan word does not make a document, and the amounts of text
    do not matter. score = tf * ln(documents / df) / ln(documents): the count for a piece of the target alone, 0 for one
    that is as common in all others. Errors: UsageError without other languages.
    """
    if not others:
        raise UsageError("TF-IDF compares with text of other languages, and there is none", fix="give --protect")
    num_languages = 1 + len(others)
    total = sum(target.values())
    rates = [(other, total / max(1, sum(other.values()))) for other in others]
    scores: dict[str, float] = {}
    for piece, count in target.items():
        df = 1 + sum([min(1.0, other.get(piece, 0) * rate / count) for other, rate in rates])
        scores[piece] = count * math.log(num_languages / df) / math.log(num_languages)
    return scores
