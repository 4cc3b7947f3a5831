"""A SentencePiece-like BPE base (Llama 2, Mistral) as continued BPE sees it: words, characters, rules.

Pieces are characters with `▁` for a space; what has no piece is spelled in bytes or is UNK. Here such a character is
one symbol until the seed gives it a piece; what is left after that ends a word. Counted words are runs of `▁` with what
follows, provided that no piece reaches across two (true of all models in reach), else whole documents; inside, a word
begins at each `▁` and stops at white space, control and added tokens, so no new piece has a space after its first
character. A token holds at most as many digits as the base's own multi-character pieces do: none if digits stand alone
there (Llama).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from seatools.streams.errors import SeaError
from seatools.text.huggingface_json import JsonTokenizer
from seatools.text.sentencepiece_model import SentencePieceTokenizer
from seatools.vocab_extend.segments import BREAK, Segments, unknown
from seatools.vocab_extend.transformers_view import as_transformers_reads
from seatools.vocab_extend.word_counts import Law, Splitter

NORMAL = 1  # ModelProto.SentencePiece.Type
_INSIDE, _BEGINS, _ALONE, _BYTE, _UNKNOWN = range(5)
_ONE_WORD = re.compile("▁*[^▁]*")


class CharLevelBase:
    """A loaded SentencePiece model or `tokenizer.json` with byte fallback. `pieces`: id -> piece, grows."""

    seeds_are_merges = False

    def __init__(self, tokenizer: SentencePieceTokenizer | JsonTokenizer) -> None:
        self.tokenizer = tokenizer
        self.first_id = tokenizer.vocab_size
        if isinstance(tokenizer, SentencePieceTokenizer):
            proto = tokenizer.model_proto
            if proto.trainer_spec.treat_whitespace_as_suffix or not proto.normalizer_spec.escape_whitespaces:
                raise SeaError(
                    f"{tokenizer.path} writes spaces in a way of its own (as suffix, or not as ▁)",
                    fix="vocab-extend supports SentencePiece models with ▁ before words",
                )
            every = [piece.piece for piece in proto.pieces]
            ordinary = {id for id, piece in enumerate(proto.pieces) if piece.type == NORMAL}
        else:
            ids = {id: piece for piece, id in tokenizer.vocabulary.items()}
            every = list(ids.values())
            outside = {token.id for token in tokenizer.added_tokens} | tokenizer.byte_ids | {tokenizer.unk_id}
            ordinary = ids.keys() - outside
        names = {id: tokenizer.piece(id) for id in ordinary}
        self.law: Law = "expands" if isinstance(tokenizer, JsonTokenizer) else "coarsens"
        if tokenizer.kind.endswith("unigram"):
            self.law = "measured"
        self.pieces = dict(names)
        self.taken = set(every) | {token.content for token in tokenizer.added_tokens}
        self.joins = None if self.law == "expands" else {piece: id for id, piece in names.items()}
        """SentencePiece joins whatever makes one of these."""
        self._one_word = all(_ONE_WORD.fullmatch(piece) for piece in names.values())
        roles = np.full(tokenizer.vocab_size, _ALONE, np.int8)
        for id, piece in names.items():
            roles[id] = _role(piece)
        roles[list(tokenizer.byte_ids)] = _BYTE
        if tokenizer.unk_id is not None:
            roles[tokenizer.unk_id] = _UNKNOWN
        self._roles = roles
        self._byte_of = {id: tokenizer.piece_bytes(id)[0] for id in tokenizer.byte_ids}
        self._byte_id = {byte: id for id, byte in self._byte_of.items()}
        self._most_digits = max((_digits(piece) for piece in names.values() if len(piece) > 1), default=0)

    @cached_property
    def beside(self) -> CharLevelBase | None:
        """The tokenizer.json beside a SentencePiece model, or what transformers would make of the model alone."""
        if not isinstance(self.tokenizer, SentencePieceTokenizer) or self.law == "measured":
            return None
        other = self.tokenizer.beside
        return CharLevelBase(as_transformers_reads(self.tokenizer) if other is None else other)

    def splitter(self, sample: Sequence[str]) -> Splitter:
        """How to cut text into words (`sample` is not needed: these are cut by rule)."""
        pattern: str | None = r"▁*[^▁]+|▁+" if self._one_word else r"(?s:.+)"
        if isinstance(self.tokenizer, SentencePieceTokenizer):
            model = self.tokenizer.model_proto.SerializeToString(deterministic=True)
            return Splitter(pattern=pattern, sentencepiece=model)
        parsed = self.tokenizer.json_model
        empty = {"type": "BPE", "vocab": {}, "merges": []}
        bare = json.dumps({**parsed, "model": empty, "added_tokens": [], "post_processor": None, "decoder": None})
        normalizer = "engine" if parsed.get("normalizer") else None
        if parsed.get("pre_tokenizer"):
            pattern = None
        return Splitter(pattern=pattern, normalizer=normalizer, engine_json=bare)

    @cached_property
    def _word_engine(self) -> Any:
        """The model without normaliser, prefix and added tokens: it encodes a word as it is spelled."""
        if isinstance(self.tokenizer, JsonTokenizer):
            import tokenizers

            return tokenizers.Tokenizer(self.tokenizer.engine.model)
        return self.tokenizer.bare_engine

    def encode_words(self, words: Sequence[str], workers: int = 0) -> Segments:
        """The ids of each word, bytes and UNK as they are."""
        parts = []
        for start in range(0, len(words), 1 << 16):
            batch = list(words[start : start + (1 << 16)])
            if isinstance(self.tokenizer, JsonTokenizer):
                found = self._word_engine.encode_batch_fast(batch, add_special_tokens=False)
                parts.append(Segments.of([encoding.ids for encoding in found]))
            else:
                parts.append(Segments.of(self._word_engine.Encode(batch, out_type=int, num_threads=workers or -1)))
        return Segments.joined(parts)

    def symbols(self, words: Segments, texts: Sequence[str]) -> Segments:
        """`words` as the learner takes them: bytes and UNK as characters, cut where a word ends.

        `texts`: the words themselves, for the characters behind UNK.
        """
        roles = self._roles[words.ids]
        first = np.zeros(len(words.ids), bool)
        first[words.offsets[:-1][words.lengths > 0]] = True
        plain = (roles == _INSIDE) | ((roles == _BEGINS) & first)
        odd = np.unique(words.owners()[~plain])
        if not len(odd):
            return words
        parts: list[Segments] = []
        done = 0
        for number in odd.tolist():
            parts.append(_slice(words, done, number))
            parts.append(Segments.of([self._split(words.word(number), texts[number])]))
            done = number + 1
        parts.append(_slice(words, done, len(words)))
        return Segments.joined(parts)

    def _split(self, ids: Sequence[int], text: str) -> list[int]:
        surfaces = self._surfaces(ids, text)
        word: list[int] = []
        run = bytearray()
        for at, id in enumerate(ids):
            role = self._roles[id]
            if role == _BYTE:
                run.append(self._byte_of[id])
                continue
            if run:
                word += [unknown(char) for char in run.decode("utf-8", "replace")]
                run.clear()
            if role in (_BEGINS, _ALONE) and word and word[-1] != BREAK:
                word.append(BREAK)
            if role == _UNKNOWN:
                word += [unknown(char) for char in surfaces[at]] or [BREAK]
            elif role in (_INSIDE, _BEGINS):
                word.append(id)
        return word + [unknown(char) for char in run.decode("utf-8", "replace")]

    def _surfaces(self, ids: Sequence[int], text: str) -> list[str]:
        """What each id stands for; asked for UNK only."""
        if self.tokenizer.unk_id not in ids:
            return [""] * len(ids)
        surfaces: list[str]
        if isinstance(self.tokenizer, JsonTokenizer):
            encoding = self._word_engine.encode(text, add_special_tokens=False)
            surfaces = [text[start:end] for start, end in encoding.offsets]
        else:
            surfaces = self._word_engine.Encode(text, out_type=str)
        return surfaces if len(surfaces) == len(ids) else [""] * len(ids)

    def spelled(self, char: str) -> tuple[int, ...]:
        """What the base makes of a character that it has no piece for."""
        if self._byte_id:
            return tuple(self._byte_id[byte] for byte in char.encode())
        return () if self.tokenizer.unk_id is None else (self.tokenizer.unk_id,)

    def base_rule(self, left: str, right: str, piece: str) -> bool:
        """No space after the first character, and digits as in the base."""
        if "▁" in piece[1:]:
            return False
        # Two digits in a piece of the base: it makes numbers, and so may we.
        return self._most_digits > 1 or _digits(piece) <= self._most_digits

    def data(self, piece: str) -> bytes:
        """The bytes that a piece stands for."""
        return piece.replace("▁", " ").encode()

    def spelling(self, data: bytes) -> str | None:
        """The piece that stands for `data`; None for part of a character."""
        try:
            return data.decode().replace(" ", "▁")
        except UnicodeDecodeError:
            return None

    def written(self, piece: str) -> str:
        """The piece as the tokenizer's file has it."""
        return piece


def _slice(words: Segments, first: int, last: int) -> Segments:
    offsets = words.offsets[first : last + 1]
    return Segments(words.ids[offsets[0] : offsets[-1]], offsets - offsets[0])


def _role(piece: str) -> int:
    text = piece.replace("▁", " ")
    if any(char.isspace() for char in text[1:]):
        return _ALONE
    if text[:1] == " ":
        return _BEGINS
    return _ALONE if text[:1].isspace() else _INSIDE


def _digits(piece: str) -> int:
    return sum(char.isdecimal() for char in piece)
