"""A SentencePiece-like BPE base (Llama 2, Mistral) as continued BPE sees it: words, characters, rules.

Pieces are characters with `▁` for a space; what has no piece is spelled in bytes or is UNK. Here such a character is
one symbol, minus its code point, until the seed gives it a piece; what is left after that ends a word. Words begin at
`▁` and stop at white space, control and added tokens, so no new piece has a space after its first character. A token
holds at most as many digits as the base's own multi-character pieces do: none if digits stand alone there (Llama).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from seatools.streams.errors import SeaError
from seatools.text.huggingface_json import JsonTokenizer
from seatools.text.sentencepiece_model import SentencePieceTokenizer
from seatools.vocab_extend.batches import batches
from seatools.vocab_extend.character_seed import wanted_characters
from seatools.vocab_extend.new_token import NewToken

Words = dict[tuple[int, ...], int]
NORMAL = 1  # ModelProto.SentencePiece.Type
_INSIDE, _BEGINS, _ALONE, _BYTE, _UNKNOWN = range(5)
_END = -0x110000  # no character


class CharLevelBase:
    """A loaded SentencePiece model or `tokenizer.json` with byte fallback. `pieces`: id -> piece, grows."""

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
        self.explicit = isinstance(tokenizer, JsonTokenizer)
        self.pieces = dict(names)
        self.taken = set(every) | {token.content for token in tokenizer.added_tokens}
        self.joins = None if self.explicit else {piece: id for id, piece in names.items()}
        """SentencePiece joins whatever makes one of these."""
        self._roles = {id: _role(piece) for id, piece in names.items()}
        self._roles |= {id: _BYTE for id in tokenizer.byte_ids}
        if tokenizer.unk_id is not None:
            self._roles[tokenizer.unk_id] = _UNKNOWN
        self._byte_of = {id: tokenizer.piece_bytes(id)[0] for id in tokenizer.byte_ids}
        self._byte_id = {byte: id for id, byte in self._byte_of.items()}
        self._most_digits = max((_digits(piece) for piece in names.values() if len(piece) > 1), default=0)
        self._protected_pairs: set[tuple[int, int]] = set()
        self._protected_pieces: set[str] = set()
        self._protected_chars: set[int] = set()

    def words(self, texts: Iterable[str], workers: int = 0) -> Words:
        """The words of `texts` as base ids (unknown characters negative) -> how often each occurs."""
        words: Counter[tuple[int, ...]] = Counter()
        for batch in batches(texts):
            for ids, unknown, breaks in self._encoded(batch, workers):
                words.update(self._split(ids, unknown, breaks))
        return words

    def _encoded(self, texts: list[str], workers: int) -> Iterator[tuple[list[int], list[str], Sequence[int | None]]]:
        """Per text: ids, their surfaces (only where UNK occurs and can be told), the engine's own word numbers."""
        if isinstance(self.tokenizer, JsonTokenizer):
            for encoding in self.tokenizer.engine.encode_batch(texts, add_special_tokens=False):
                yield encoding.ids, [], encoding.word_ids
            return
        engine = self.tokenizer.engine
        for text, ids in zip(texts, self.tokenizer.encode_batch(texts, workers=workers), strict=True):
            surfaces = engine.Encode(text, out_type=str) if self.tokenizer.unk_id in ids else []
            yield ids, surfaces if len(surfaces) == len(ids) else [], ()

    def _split(self, ids: list[int], surfaces: list[str], breaks: Sequence[int | None]) -> list[tuple[int, ...]]:
        roles, byte_of = self._roles, self._byte_of
        words: list[tuple[int, ...]] = []
        word: list[int] = []
        run = bytearray()
        for at, id in enumerate(ids):
            role = roles.get(id, _ALONE)
            new_word = bool(at) and bool(breaks) and breaks[at] != breaks[at - 1]
            if role == _BYTE and not new_word:
                run.append(byte_of[id])
                continue
            if run:
                word += [-ord(char) for char in run.decode("utf-8", "replace")]
                run.clear()
            if word and (new_word or role in (_BEGINS, _ALONE)):
                words.append(tuple(word))
                word = []
            if role == _BYTE:
                run.append(byte_of[id])
            elif role == _UNKNOWN and surfaces:
                word += [-ord(char) for char in surfaces[at]]
            elif role in (_INSIDE, _BEGINS):
                word.append(id)
        word += [-ord(char) for char in run.decode("utf-8", "replace")]
        if word:
            words.append(tuple(word))
        return words

    def protect(self, words: Words) -> None:
        """From now on no merge may fire on `words` and none of their unknown characters may become a piece."""
        for word in words:
            self._protected_chars.update(symbol for symbol in word if symbol < 0)
            for left, right in zip(word, word[1:], strict=False):
                if left >= 0 and right >= 0:
                    self._protected_pairs.add((left, right))
                    if not self.explicit:
                        self._protected_pieces.add(self.pieces[left] + self.pieces[right])

    def seed(self, words: Words, budget: int, min_count: int) -> tuple[list[NewToken], Words]:
        """Pieces for characters that have none, at most `budget`, and the words with them, cut at the others."""
        chars: Counter[str] = Counter()
        for word, count in words.items():
            for symbol in word:
                if symbol < 0:
                    chars[chr(-symbol)] += count
        wanted = [
            char
            for char in wanted_characters(chars, min_count)
            if char not in self.taken and -ord(char) not in self._protected_chars
        ][:budget]
        tokens = [
            NewToken(id, char, char.encode(), "char", None, self._spelled(char))
            for id, char in enumerate(wanted, self.first_id)
        ]
        ids = {-ord(token.piece): token.id for token in tokens}
        for token in tokens:
            self.pieces[token.id] = token.piece
            self.taken.add(token.piece)
            if self.joins is not None:
                self.joins[token.piece] = token.id
        seeded: Counter[tuple[int, ...]] = Counter()
        for word, count in words.items():
            if min(word) >= 0:
                seeded[word] += count
                continue
            part: list[int] = []
            for symbol in (*word, _END):
                known = ids.get(symbol, symbol)
                if known >= 0:
                    part.append(known)
                elif part:
                    seeded[tuple(part)] += count
                    part = []
        return tokens, seeded

    def _spelled(self, char: str) -> tuple[int, ...]:
        if self._byte_id:
            return tuple(self._byte_id[byte] for byte in char.encode())
        return () if self.tokenizer.unk_id is None else (self.tokenizer.unk_id,)

    def data(self, piece: str) -> bytes:
        """The bytes that a piece stands for."""
        return piece.replace("▁", " ").encode()

    def rule(self, max_bytes: int) -> Callable[[int, int, str], bool]:
        """`may_merge` of continued BPE."""

        def may_merge(left: int, right: int, piece: str) -> bool:
            if (left, right) in self._protected_pairs or piece in self._protected_pieces:
                return False
            if "▁" in piece[1:] or len(self.data(piece)) > max_bytes:
                return False
            # Two digits in a piece of the base: it makes numbers, and so may we.
            return self._most_digits > 1 or _digits(piece) <= self._most_digits

        return may_merge


def _role(piece: str) -> int:
    text = piece.replace("▁", " ")
    if any(char.isspace() for char in text[1:]):
        return _ALONE
    if text[:1] == " ":
        return _BEGINS
    return _ALONE if text[:1].isspace() else _INSIDE


def _digits(piece: str) -> int:
    return sum(char.isdecimal() for char in piece)
