"""A SentencePiece model as transformers reads it when no tokenizer.json stands beside: merges in the order of the ids.

Source: transformers 5.23, `generate_merges` and `SentencePieceExtractor.extract` (every split of every piece, ordered
by the piece's id, then by the lengths of its parts). New pieces agree with sentencepiece because their ids rise as
their scores fall.
"""

from __future__ import annotations

from typing import Any

from seatools.text.huggingface_json import JsonTokenizer
from seatools.text.sentencepiece_model import SentencePieceTokenizer
from seatools.text.special_tokens import TokenConfig

_BYTE, _CONTROL = 6, 3  # ModelProto.SentencePiece.Type


def as_transformers_reads(tokenizer: SentencePieceTokenizer) -> JsonTokenizer:
    """The BPE tokenizer that transformers would build of the model file, without normaliser and added tokens."""
    proto = tokenizer.model_proto
    vocabulary = {piece.piece: id for id, piece in enumerate(proto.pieces)}
    skipped = {piece.piece for piece in proto.pieces if piece.type in (_BYTE, _CONTROL)}
    merges: list[tuple[int, int, int, int, str, str]] = []
    for piece, id in vocabulary.items():
        if piece in skipped:
            continue
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in vocabulary and right in vocabulary:
                merges.append((id, cut, len(right), vocabulary[left], left, right))
    merges.sort()
    model: dict[str, Any] = {
        "type": "BPE",
        "unk_token": proto.pieces[proto.trainer_spec.unk_id].piece,
        "fuse_unk": True,
        "byte_fallback": bool(tokenizer.byte_ids),
        "vocab": vocabulary,
        "merges": [[left, right] for *_, left, right in merges],
    }
    parsed = {"version": "1.0", "added_tokens": [], "model": model}
    return JsonTokenizer(tokenizer.path, parsed, TokenConfig(), files=tokenizer.files, where=tokenizer.path)
