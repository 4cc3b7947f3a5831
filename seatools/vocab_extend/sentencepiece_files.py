"""A SentencePiece `.model` with new pieces, and the merges of the tokenizer.json beside it.

Traps (vocab-embed.md 1a, 1c, 1d):
- a `.model` has no gaps, so ids of added tokens beyond its end become control (or user-defined) pieces;
- new scores fall strictly, below *every* base score: with scores between those of Mistral's white-space runs (-1e9) and
  the rest, a new `▁x` would win over `▁▁` (in 5 of 32,210 lines). At -1e9 float32 steps are 64, hence the next float;
- Unigram scores are log-probabilities: by convention new pieces get the lowest one (google/sentencepiece#121), here the
  next floats below it, so that 16,384 of them stay within 0.02 of it;
- sentencepiece joins whatever makes a piece, and at once, so tokenizer.json gets every split of every new piece, and
  before those every split of a base piece that has a new piece as a part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from seatools.streams.errors import SeaError
from seatools.text.sentencepiece_model import SentencePieceTokenizer
from seatools.vocab_extend.new_token import NewToken

_NORMAL, _CONTROL, _USER_DEFINED = 1, 3, 4  # ModelProto.SentencePiece.Type


def extended_model(tokenizer: SentencePieceTokenizer, tokens: Sequence[NewToken]) -> bytes:
    """The `.model` with the new pieces appended, serialised."""
    proto = type(tokenizer.model_proto)()
    proto.CopyFrom(tokenizer.model_proto)
    by_id = {token.id: token for token in tokenizer.added_tokens}
    for id in range(len(proto.pieces), tokenizer.vocab_size):
        added = by_id.get(id)
        kind = _USER_DEFINED if added is not None and not added.special else _CONTROL
        proto.pieces.add(piece=f"<unused_{id}>" if added is None else added.content, score=0.0, type=kind)
    lowest = min((piece.score for piece in proto.pieces if piece.type == _NORMAL), default=0.0)
    step = 0.0 if tokenizer.kind == "sentencepiece-unigram" else 1.0
    for token, score in zip(tokens, falling_scores(lowest, step), strict=False):
        if score == float("-inf"):
            raise SeaError(f"{tokenizer.path}: its scores leave no room below them", fix="retrain or rescale the model")
        proto.pieces.add(piece=token.piece, score=score, type=_NORMAL)
    proto.trainer_spec.vocab_size = len(proto.pieces)
    serialized: bytes = proto.SerializeToString(deterministic=True)
    return serialized


def falling_scores(lowest: float, step: float) -> Iterator[float]:
    """float32 numbers below `lowest`, each smaller than the one before by `step`, or by the least that there is."""
    import numpy as np

    score = np.float32(lowest)
    while True:
        score = min(np.float32(score - np.float32(step)), np.nextafter(score, np.float32("-inf")))
        yield float(score)


def every_split(tokenizer: SentencePieceTokenizer, tokens: Sequence[NewToken]) -> Iterator[tuple[str, str]]:
    """Merges for tokenizer.json that do what sentencepiece does, in the order of its scores."""
    base: list[Any] = [piece for piece in tokenizer.model_proto.pieces if piece.type == _NORMAL]
    new = {token.piece for token in tokens}
    known = {piece.piece for piece in base} | new
    for piece in sorted(base, key=lambda piece: -piece.score):
        for left, right in _splits(piece.piece, known):
            if left in new or right in new:
                yield left, right
    for token in tokens:
        yield from _splits(token.piece, known)


def _splits(piece: str, known: set[str]) -> Iterator[tuple[str, str]]:
    for cut in range(1, len(piece)):
        if piece[:cut] in known and piece[cut:] in known:
            yield piece[:cut], piece[cut:]
