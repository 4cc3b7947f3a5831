"""A vocabulary as arrays by id, so that what is said of millions of tokens is a few look-ups in numpy.

Pieces stand one after another in `data`; `decoding` says what the engine's decoder makes of them where that is known
from its kind: "joined" (the pieces' bytes in a row), or "stripped" (the same, less one leading space). Cost: 0.3 s and
10 bytes an id, more for the pieces, for 151,643 ids.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from seatools.streams.errors import SeaError
from seatools.text.huggingface_json import JsonTokenizer
from seatools.text.reachability import added_ids
from seatools.text.sentencepiece_model import SentencePieceTokenizer
from seatools.text.tiktoken_ranks import TiktokenTokenizer
from seatools.text.tokenizer import Tokenizer

Decoding = Literal["joined", "stripped"]

_JSON_DECODERS: dict[tuple[str, ...], Decoding] = {
    ("ByteLevel",): "joined",
    ("Replace", "ByteFallback", "Fuse"): "joined",
    ("Replace", "ByteFallback", "Fuse", "Strip"): "stripped",
}
HEAD = 8  # bytes of a piece compared at once


class PieceTable:
    """What each id of `tokenizer` stands for."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.pieces = [_bytes(tokenizer, id) for id in range(tokenizer.vocab_size)]
        """Bytes by id; empty for special, UNK and unused ids."""
        self.num_bytes = np.fromiter(map(len, self.pieces), np.int32, len(self.pieces))
        """[ids] int32."""
        self.offsets = np.concatenate(([0], np.cumsum(self.num_bytes, dtype=np.int64)))
        """[ids + 1] int64: where each piece begins in `data`."""
        self.data = np.frombuffer(b"".join(self.pieces) + bytes(HEAD), np.uint8)
        """[bytes of all pieces + HEAD] uint8."""
        self.heads = words_of(self.data)[self.offsets[:-1]]
        """[ids] uint64: the first HEAD bytes of `data` from each piece on."""
        self.masks = masks(self.num_bytes)
        """[ids] uint64: which bits of `heads` are the piece's."""
        self.is_incomplete = np.array([_cuts_a_character(piece) for piece in self.pieces], bool)
        """[ids] bool: the piece is not UTF-8 by itself."""
        self.is_added = np.zeros(len(self.pieces), bool)
        """[ids] bool: added tokens that are not special, which decoders may spell otherwise than the text."""
        self.is_added[list(added_ids(tokenizer))] = True
        self.is_byte = np.zeros(len(self.pieces), bool)
        """[ids] bool: byte pieces, which spell what no other piece does."""
        self.is_byte[list(tokenizer.byte_ids)] = True
        self.is_unk = np.arange(len(self.pieces)) == (-1 if tokenizer.unk_id is None else tokenizer.unk_id)
        """[ids] bool: UNK, where there is one."""
        self.decoding = decoding_of(tokenizer)

    def numbers(self, known: dict[bytes, int]) -> np.ndarray:
        """[ids] int64: one number for equal pieces, whatever their id; `known` is shared by tokenizers to compare."""
        return np.array([known.setdefault(piece, len(known)) for piece in self.pieces], np.int64)


def words_of(data: np.ndarray) -> np.ndarray:
    """[bytes - HEAD + 1] uint64: the HEAD bytes from each position of `data` on."""
    return np.ndarray((len(data) - HEAD + 1,), "<u8", data, 0, (1,))


def masks(lengths: np.ndarray) -> np.ndarray:
    """[n] uint64: the bits of the first `lengths` bytes, at most HEAD, of a word."""
    table = np.array([(1 << 8 * size) - 1 for size in range(HEAD + 1)], np.uint64)
    return table[np.minimum(lengths, HEAD)]


def decoding_of(tokenizer: Tokenizer) -> Decoding | None:
    """How the engine decodes pieces, or None where only the engine itself can tell."""
    if isinstance(tokenizer, TiktokenTokenizer):
        return "joined"
    if isinstance(tokenizer, SentencePieceTokenizer):
        return "stripped" if tokenizer.model_proto.normalizer_spec.add_dummy_prefix else "joined"
    if isinstance(tokenizer, JsonTokenizer):
        decoder = tokenizer.json_model.get("decoder") or {}
        steps = decoder.get("decoders", [decoder])
        return _JSON_DECODERS.get(tuple(str(step.get("type")) for step in steps))
    return None


def _bytes(tokenizer: Tokenizer, id: int) -> bytes:
    try:
        return tokenizer.piece_bytes(id)
    except SeaError:
        return b""


def _cuts_a_character(piece: bytes) -> bool:
    if piece.isascii():
        return False
    try:
        piece.decode()
    except UnicodeDecodeError:
        return True
    return False
