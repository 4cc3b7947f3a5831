"""Tiny tokenizers with SentencePiece's space marker and byte fallback: as tokenizer.model and as tokenizer.json."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

SPECIAL = ("<unk>", "<s>", "</s>")  # ids 0, 1, 2
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
LETTERS = tuple("abcdefghijklmnopqrstuvwxyzAB")
WORDS = tuple(f"▁{letter}{end}" for letter in "abcdefghijklmnopqrstuvwxyz" for end in ("", "e", "o"))
PIECES = (*WORDS, "▁A", "▁B", "▁", *LETTERS)
VOCABULARY = len(SPECIAL) + len(BYTES) + len(PIECES)


def write_sentencepiece(
    folder: Path, pieces: Sequence[str] = PIECES, *, byte_fallback: bool = True, runs: Sequence[str] = ()
) -> Path:
    """A tokenizer.model: 3 specials, 256 bytes, `runs` at score -1e9, then `pieces` at 0, -1, -2, ..."""
    from sentencepiece import sentencepiece_model_pb2 as pb

    proto = pb.ModelProto()
    for piece, type_ in zip(SPECIAL, (2, 3, 3), strict=True):
        proto.pieces.add(piece=piece, score=0, type=type_)
    for piece in BYTES if byte_fallback else ():
        proto.pieces.add(piece=piece, score=0, type=6)
    for piece in runs:
        proto.pieces.add(piece=piece, score=-1e9, type=1)
    for rank, piece in enumerate(pieces):
        proto.pieces.add(piece=piece, score=-rank, type=1)
    proto.trainer_spec.model_type = 2
    proto.trainer_spec.byte_fallback = byte_fallback
    proto.trainer_spec.vocab_size = len(proto.pieces)
    proto.normalizer_spec.name = "identity"
    proto.normalizer_spec.add_dummy_prefix = True
    proto.normalizer_spec.remove_extra_whitespaces = False
    proto.normalizer_spec.escape_whitespaces = True
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.model").write_bytes(proto.SerializeToString())
    return folder


def write_fallback_json(folder: Path) -> Path:
    """The same vocabulary as a Llama-like tokenizer.json: its decoder replaces a torn run of bytes as a whole."""
    from tokenizers import Tokenizer, decoders, models, normalizers

    vocabulary = {piece: id_ for id_, piece in enumerate((*SPECIAL, *BYTES, *PIECES))}
    merges = [(word[:cut], word[cut:]) for word in (*WORDS, "▁A", "▁B") for cut in range(1, len(word))]
    merges = [(left, right) for left, right in merges if left in vocabulary and right in vocabulary]
    engine = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    engine.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    engine.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    engine.add_special_tokens(list(SPECIAL))
    folder.mkdir(exist_ok=True)
    engine.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder
