"""SentencePiece models (BPE and Unigram), alone or with the `tokenizer.json` that stands beside them.

Ids are sentencepiece's own: it is the reference for the ordinary pieces, and tokenizer.json, if there, gives the added
tokens and encodes text with `special=True` as transformers would (`agreement.py` checks that the two agree). A model on
its own knows its control pieces; with `special=True` text is split on their spellings and each part is encoded by
itself, so each gets the dummy prefix (a space before it), as Mistral's own code and Llama's first one do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seatools.streams.errors import SeaError
from seatools.text.agreement import check_same_pieces, compare_encodings
from seatools.text.engine_errors import explained
from seatools.text.huggingface_json import JsonTokenizer
from seatools.text.special_tokens import AddedToken, TokenConfig, merge_added, read_bytes
from seatools.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor

KINDS = {1: "unigram", 2: "bpe"}  # TrainerSpec.ModelType; 3 is WORD, 4 is CHAR


class SentencePieceTokenizer(Tokenizer):
    """A `.model` file. `engine`: the SentencePieceProcessor; `beside`: the tokenizer.json in its folder, if any."""

    added_tokens: list[AddedToken]
    """Tokens of the JSON files in id order, special or not; those that are no pieces come after the last piece."""

    def __init__(
        self,
        path: Path,
        model_path: Path,
        config: TokenConfig,
        *,
        files: tuple[Path, ...],
        beside: JsonTokenizer | None = None,
        json_path: Path | None = None,
    ) -> None:
        self.path, self.files, self.beside, self.notes = path, files, beside, []
        self._serialized = read_bytes(model_path)
        self.engine = _load_engine(self._serialized, model_path)
        self._num_pieces: int = self.engine.vocab_size()
        with explained("protobuf cannot read it", model_path):
            spec = self.model_proto.trainer_spec
        if spec.model_type not in KINDS:
            raise SeaError(
                f"{model_path} is a SentencePiece model of type {'word' if spec.model_type == 3 else 'char'}",
                fix="sea supports BPE and Unigram models",
            )
        self.kind = f"sentencepiece-{KINDS[spec.model_type]}"
        self.byte_ids = frozenset(id for id in range(self._num_pieces) if self.engine.IsByte(id))
        if beside is None:
            self.added_tokens, self.notes = merge_added([], config, self._model_id, self._num_pieces)
        else:
            self.added_tokens, self.notes = beside.added_tokens, list(beside.notes)
            pieces = [piece.piece for piece in self.model_proto.pieces]
            check_same_pieces(pieces, beside.vocabulary, self.added_tokens, model_path, json_path or path)
        self._set_roles(config)
        difference = beside and compare_encodings(self.encode_batch, beside.encode_batch)
        if difference:
            self.notes.append(difference)

    def _set_roles(self, config: TokenConfig) -> None:
        tokens = self.added_tokens
        self._added_text = {token.id: token.content for token in tokens if token.id is not None}
        self._added_ids = {token.content: token.id for token in tokens if token.id is not None}
        engine = self.engine
        self.special_ids = {
            engine.IdToPiece(id): id
            for id in range(self._num_pieces)
            if (engine.IsControl(id) or engine.IsUnknown(id)) and id not in self._added_text
        } | {token.content: self._added_ids[token.content] for token in tokens if token.special}
        self._special = frozenset(self.special_ids.values())
        own = {
            role: id if id >= 0 else None
            for role, id in (
                ("bos_token", engine.bos_id()),
                ("eos_token", engine.eos_id()),
                ("unk_token", engine.unk_id()),
                ("pad_token", engine.pad_id()),
            )
        }
        self.bos_id, self.eos_id, self.unk_id, self.pad_id = (
            config.role(role, self._added_ids, id) for role, id in own.items()
        )
        if self.beside is not None:
            self.add_bos = self.beside.add_bos
        else:
            # The model file does not say; models with a BOS are trained with it (LlamaTokenizer's default).
            self.add_bos = self.bos_id is not None and config.add_bos is not False
        self.vocab_size = max([self._num_pieces, *(id + 1 for id in self._added_text)])
        specials = [AddedToken(content=text, id=id, special=True) for text, id in self.special_ids.items()]
        self._always = AddedSplitter([t for t in tokens if not t.special and (t.id or 0) >= self._num_pieces])
        self._everything = AddedSplitter([*(t for t in tokens if t.special), *specials, *self._always.tokens])

    def _model_id(self, piece: str) -> int | None:
        id = self.engine.PieceToId(piece)  # the UNK id for what it does not have
        return id if self.engine.IdToPiece(id) == piece else None

    def _encode_batch(self, texts: list[str], special: bool, workers: int) -> list[list[int]]:
        if special and self.beside is not None:
            return self.beside._encode_batch(texts, True, workers)
        splitter = self._everything if special else self._always
        if not splitter.tokens:
            return self.engine.Encode(texts, num_threads=workers, out_type=int)
        parts = [splitter.split(text) for text in texts]
        plain = [part for text_parts in parts for part in text_parts if isinstance(part, str)]
        encoded = iter(self.engine.Encode(plain, num_threads=workers, out_type=int))
        return [
            [id for part in text_parts for id in (next(encoded) if isinstance(part, str) else [part])]
            for text_parts in parts
        ]

    def decode(self, ids: Sequence[int], *, skip_special: bool = True) -> str:
        text: list[str] = []
        run: list[int] = []
        for id in map(int, ids):
            spelled = self._spelled(id, skip_special)
            if spelled is None:
                run.append(id)
            else:
                text += [self.engine.Decode(run), spelled] if run else [spelled]
                run = []
        return "".join(text) + (self.engine.Decode(run) if run else "")

    def _spelled(self, id: int, skip_special: bool) -> str | None:
        """How an id outside the engine's text is written; None for the engine's own pieces."""
        if id < 0 or id >= self.vocab_size:
            return ""
        if id in self._special and not skip_special:
            return self._piece(id)
        if id < self._num_pieces:
            return None  # the engine writes nothing for control pieces and " ⁇ " for UNK
        return "" if id in self._special else self._added_text.get(id, "")

    def _piece(self, id: int) -> str | None:
        if id in self._added_text:
            return self._added_text[id]
        return self.engine.IdToPiece(id) if id < self._num_pieces else None

    def _piece_bytes(self, id: int) -> bytes:
        if id in self._special:
            return b""
        if id in self._added_text and id >= self._num_pieces:
            return self._added_text[id].encode()
        piece = self.engine.IdToPiece(id)
        if self.engine.IsByte(id):
            return bytes.fromhex(piece[3:5])
        if self.engine.IsControl(id) or self.engine.IsUnknown(id):
            return b""
        return (piece.replace("▁", " ") if self.model_proto.normalizer_spec.escape_whitespaces else piece).encode()

    def piece_to_id(self, piece: str) -> int | None:
        if piece in self._added_ids:
            return self._added_ids[piece]
        id = self._model_id(piece)
        return None if id in self._added_text else id

    @cached_property
    def model_proto(self) -> Any:
        """The parsed ModelProto (`pieces` with `piece`, `score`, `type`; `trainer_spec`; `normalizer_spec`)."""
        from sentencepiece import sentencepiece_model_pb2

        return sentencepiece_model_pb2.ModelProto.FromString(self._serialized)  # type: ignore[attr-defined]

    @cached_property
    def bare_engine(self) -> SentencePieceProcessor:
        """The model without normaliser and dummy prefix: it encodes pieces and words as they are spelled."""
        proto = type(self.model_proto).FromString(self._serialized)
        proto.normalizer_spec.Clear()
        proto.normalizer_spec.name = "identity"
        proto.normalizer_spec.add_dummy_prefix = False
        proto.normalizer_spec.remove_extra_whitespaces = False
        proto.normalizer_spec.escape_whitespaces = False
        return _load_engine(proto.SerializeToString(), self.path)

    def _canonical(self) -> Iterable[bytes]:
        proto = self.model_proto
        yield repr([(piece.piece, piece.score, piece.type) for piece in proto.pieces]).encode()
        yield proto.normalizer_spec.SerializeToString(deterministic=True)
        spec = proto.trainer_spec
        yield repr([spec.model_type, spec.byte_fallback, spec.treat_whitespace_as_suffix, spec.unk_id]).encode()
        yield json.dumps([token.__dict__ for token in self.added_tokens]).encode()
        if self.beside is not None:
            yield self.beside.digest().encode()


class AddedSplitter:
    """Cuts a text at the spellings of tokens: the longest first, as tokenizers does, with their strip flags."""

    def __init__(self, tokens: list[AddedToken]) -> None:
        self.tokens = list({token.content: token for token in reversed(tokens)}.values())
        self.tokens.sort(key=lambda token: -len(token.content))
        self._pattern = re.compile("|".join(map(self._regex, self.tokens)))

    @staticmethod
    def _regex(token: AddedToken) -> str:
        inner = f"({re.escape(token.content)})"
        if token.single_word:
            inner = rf"(?<!\w){inner}(?!\w)"
        return (r"\s*" if token.lstrip else "") + inner + (r"\s*" if token.rstrip else "")

    def split(self, text: str) -> list[str | int]:
        """The plain parts as strings, the tokens between them as ids; no empty parts."""
        parts: list[str | int] = []
        end = 0
        for match in self._pattern.finditer(text) if self.tokens else ():
            id = self.tokens[(match.lastindex or 0) - 1].id
            if match.start() > end:
                parts.append(text[end : match.start()])
            parts.append(-1 if id is None else id)
            end = match.end()
        if end < len(text):
            parts.append(text[end:])
        return parts


def _load_engine(serialized: bytes, model_path: Path) -> SentencePieceProcessor:
    from sentencepiece import SentencePieceProcessor

    engine = SentencePieceProcessor()
    try:
        engine.LoadFromSerializedProto(serialized)
        engine.IdToPiece(list(range(engine.vocab_size())))
    except (RuntimeError, ValueError, OSError) as error:  # UnicodeDecodeError: a piece, or the message, is not UTF-8
        told = "" if "ParseFromArray" in str(error) else f": {str(error).strip()}"  # says only where in its source
        fix = "get the file again; it may be cut"
        raise SeaError(f"{model_path} is not a SentencePiece model{told}", fix=fix) from None
    return engine
