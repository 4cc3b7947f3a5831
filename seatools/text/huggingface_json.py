"""Tokenizers that the `tokenizers` engine runs: a `tokenizer.json`, or one built from vocab.json + merges.txt.

BPE (byte-level, or SentencePiece-like with byte fallback) and Unigram; WordPiece and WordLevel are refused. The engine
object has one switch for special tokens, shared by all its callers, so there are two engines: `encode_special_tokens`
on (special tokens stay text) and, made at the first `special=True`, off. Padding, truncation and BPE dropout of the
file are switched off. Added tokens that only `tokenizer_config.json` and its like name are put into the JSON first.
Cost: about 0.4 s and 150 MB for 150,000 pieces; twice that with both engines.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seatools.streams.cores import available_cores
from seatools.streams.errors import SeaError
from seatools.text.byte_alphabet import unspell
from seatools.text.engine_errors import explained
from seatools.text.special_tokens import IDS_ARE, AddedToken, TokenConfig, is_id, merge_added, read_added
from seatools.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    import tokenizers

BYTE_PIECE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


class JsonTokenizer(Tokenizer):
    """A tokenizer in the format of `tokenizer.json`. `engine` is for reading only."""

    json_model: dict[str, Any]
    """The parsed file, with the added tokens of the small files beside it."""
    added_tokens: list[AddedToken]
    """All added tokens in id order, special or not."""
    vocabulary: dict[str, int]
    """The model's own pieces -> ids, without added tokens that are not among them."""

    def __init__(
        self,
        path: Path,
        parsed: dict[str, Any],
        config: TokenConfig,
        *,
        files: tuple[Path, ...],
        where: Path,
        kind: str | None = None,
    ) -> None:
        """`parsed`: the JSON; `where`: the file to name in errors; `kind`: if not by the model's type."""
        self.path, self.files = path, files
        model = model_of(parsed, where)
        self.kind = kind or f"json-{model['type'].lower()}"
        self.vocabulary = vocabulary_of(model, where)
        check_merges(model.get("merges") or [], self.vocabulary, where)
        self.notes = []
        if model.get("dropout"):
            self.notes.append(f"{where} asks for BPE dropout {model['dropout']}, which is switched off")
            model = {**model, "dropout": None}
        listed = parsed.get("added_tokens") or []
        if not isinstance(listed, list):
            raise SeaError(f"{where}: its added_tokens are no list", fix="get the file again")
        own = [read_added(token, where, id=_added_id(token, where)) for token in listed]
        size = max(self.vocabulary.values()) + 1
        tokens, notes = merge_added(own, config, self.vocabulary.get, size)
        self.notes += notes
        self.json_model = {**parsed, "model": model, "added_tokens": [token.as_json() for token in tokens]}
        self.engine = _build_engine(self.json_model, where)
        self.engine.encode_special_tokens = True
        self.added_tokens = self._engine_ids(tokens)
        self.vocab_size = max([size, *(token.id + 1 for token in self.added_tokens if token.id is not None)])
        self._set_spelling(model)
        self._set_roles(model, config)

    def _engine_ids(self, tokens: list[AddedToken]) -> list[AddedToken]:
        # The engine numbers added tokens itself, without gaps, and only warns when the file says otherwise.
        settled = []
        for token in tokens:
            id = self.engine.token_to_id(token.content)
            if id is None:
                continue  # an empty string, which the engine ignores
            if id != token.id:
                self.notes.append(f"{token.content!r} has id {token.id} in its file; the engine's {id} is used")
            settled.append(replace(token, id=id))
        return settled

    def _set_spelling(self, model: dict[str, Any]) -> None:
        steps = list(_steps(self.json_model.get("decoder"))) + list(_steps(self.json_model.get("pre_tokenizer")))
        types = {step.get("type") for step in steps}
        self.byte_level = "ByteLevel" in types
        self._byte_fallback = not self.byte_level and (bool(model.get("byte_fallback")) or "ByteFallback" in types)
        normalizer = list(_steps(self.json_model.get("normalizer")))
        self._meta = "Metaspace" in types or any(
            step.get("type") == "Replace" and "▁" in (step.get("content"), (step.get("pattern") or {}).get("String"))
            for step in steps + normalizer
        )
        if self._byte_fallback:
            self.byte_ids = frozenset(id for piece, id in self.vocabulary.items() if BYTE_PIECE.fullmatch(piece))

    def _set_roles(self, model: dict[str, Any], config: TokenConfig) -> None:
        ids = {token.content: token.id for token in self.added_tokens if token.id is not None}
        self._added_text = {token.id: token.content for token in self.added_tokens}
        self.special_ids = {token.content: ids[token.content] for token in self.added_tokens if token.special}
        self._special = frozenset(self.special_ids.values())
        unk = self.vocabulary.get(model.get("unk_token") or "") if model["type"] == "BPE" else model.get("unk_id")
        before, after = self._template()
        self.bos_id = config.role("bos_token", ids, before[0] if before else None)
        self.eos_id = config.role("eos_token", ids, after[-1] if after else None)
        self.unk_id = config.role("unk_token", ids, unk)
        self.pad_id = config.role("pad_token", ids, None)
        # With a tokenizer.json transformers asks its post-processor only, whatever the config says.
        templated = bool(config.add_bos) if self.kind == "vocab-merges" else before[:1] == [self.bos_id]
        self.add_bos = self.bos_id is not None and templated

    def _template(self) -> tuple[list[int], list[int]]:
        """The ids that the post-processor puts before and after a text; found by encoding one."""
        with explained("tokenizers cannot encode with it", self.path):
            plain: list[int] = self.engine.encode("a", add_special_tokens=False).ids
            full: list[int] = self.engine.encode("a", add_special_tokens=True).ids
        for start in range(len(full) - len(plain) + 1):
            if plain and full[start : start + len(plain)] == plain:
                return full[:start], full[start + len(plain) :]
        return [], []

    @cached_property
    def _special_engine(self) -> tokenizers.Tokenizer:
        return _build_engine(self.json_model, self.path)

    def _encode_batch(self, texts: list[str], special: bool, workers: int) -> list[list[int]]:
        engine = self._special_engine if special else self.engine
        with explained("tokenizers cannot encode a text", self.path, fix="look at the model's unk_token"):
            return self._encode_with(engine, texts, workers)

    @staticmethod
    def _encode_with(engine: tokenizers.Tokenizer, texts: list[str], workers: int) -> list[list[int]]:
        if workers == 1 or len(texts) == 1:
            # A batch of one runs on one core; the engine has no other way to limit its threads for one call.
            return [engine.encode_batch_fast([text], add_special_tokens=False)[0].ids for text in texts]
        if workers >= available_cores():
            return [encoding.ids for encoding in engine.encode_batch_fast(texts, add_special_tokens=False)]
        with ThreadPoolExecutor(workers) as pool:
            return list(pool.map(lambda text: engine.encode_batch_fast([text], add_special_tokens=False)[0].ids, texts))

    def decode(self, ids: Sequence[int], *, skip_special: bool = True) -> str:
        known = [int(id) for id in ids if 0 <= id < self.vocab_size]
        with explained("tokenizers cannot decode with it", self.path):
            return self.engine.decode(known, skip_special_tokens=skip_special)

    def _piece(self, id: int) -> str | None:
        # The engine gives the normalised form of an added token that is matched in normalised text.
        return self._added_text[id] if id in self._added_text else self.engine.id_to_token(id)

    def _piece_bytes(self, id: int) -> bytes:
        if id in self._special or id == self.unk_id:
            return b""
        if id in self._added_text:
            return self._added_text[id].encode()
        piece = self.engine.id_to_token(id) or ""
        if self.byte_level:
            return unspell(piece)
        if id in self.byte_ids:
            return bytes.fromhex(piece[3:5])
        return (piece.replace("▁", " ") if self._meta else piece).encode()

    def piece_to_id(self, piece: str) -> int | None:
        return self.engine.token_to_id(piece)

    def _canonical(self) -> Iterable[bytes]:
        model = dict(self.json_model["model"])
        vocabulary = model.pop("vocab")
        merges = model.pop("merges", None) or []
        if isinstance(vocabulary, dict):
            vocabulary = sorted(vocabulary.items(), key=lambda item: (item[1], item[0]))
        yield _dump(vocabulary)
        # Merges are written "a b" by older versions and ["a", "b"] by newer ones.
        yield _dump([merge.split(" ") if isinstance(merge, str) else merge for merge in merges])
        yield _dump(model)
        yield _dump([token.__dict__ for token in self.added_tokens])
        yield _dump([self.json_model.get("normalizer"), self.json_model.get("pre_tokenizer")])


def model_of(parsed: Any, where: Path) -> dict[str, Any]:
    """The `model` of a tokenizer.json with its type (older files leave it out); `SeaError` if it is none of ours."""
    model = parsed.get("model") if isinstance(parsed, dict) else None
    if not isinstance(model, dict) or not model.get("vocab"):
        raise SeaError(f"{where} is not a tokenizer.json: it has no model with a vocab", fix="give a tokenizer.json")
    kind = model.get("type")
    if kind is None and "merges" in model:
        kind = "BPE"
    elif kind is None:
        kind = "Unigram" if isinstance(model["vocab"], list) else "WordPiece or WordLevel"
    if kind not in ("BPE", "Unigram"):
        raise SeaError(f"{where} is a {kind} tokenizer, which is not supported", fix="give a BPE or Unigram tokenizer")
    for affix in ("continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(affix):
            raise SeaError(
                f"{where} is a BPE tokenizer with {affix} {model[affix]!r}, which is not supported",
                fix="give a byte-level or byte-fallback BPE tokenizer",
            )
    return {**model, "type": kind}


def vocabulary_of(model: dict[str, Any], where: Path) -> dict[str, int]:
    """Piece -> id of a model section; `SeaError` for ids that are no numbers or that two pieces share."""
    vocabulary = model["vocab"]
    try:
        if model["type"] == "Unigram":
            return {str(piece): id for id, (piece, _) in enumerate(vocabulary)}
        if all(map(is_id, vocabulary.values())):
            _check_ids_differ(vocabulary, where)
            return dict(vocabulary)
    except (TypeError, ValueError, AttributeError):
        pass
    raise SeaError(f"{where}: the vocabulary of the {model['type']} model is malformed", fix=f"{IDS_ARE}, one a piece")


def _check_ids_differ(vocabulary: dict[str, int], where: Path) -> None:
    # The engine gives one of the two, another one in each process (its hash map is seeded at random).
    if len(set(vocabulary.values())) == len(vocabulary):
        return
    holder: dict[int, str] = {}
    for piece, id in vocabulary.items():
        if id in holder:
            raise SeaError(
                f"{where}: the pieces {holder[id][:40]!r} and {piece[:40]!r} share the id {id}",
                fix="give each piece of the vocabulary an id of its own",
            )
        holder[id] = piece


def check_merges(merges: Any, vocabulary: dict[str, int], where: Path) -> None:
    """`SeaError` for the first merge that is none or needs a piece that is not there (tokenizers panics at some)."""
    if not isinstance(merges, list):
        raise SeaError(f"{where}: its merges are no list", fix="get the file again")
    pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in merges]
    try:
        if all(left in vocabulary and right in vocabulary and left + right in vocabulary for left, right in pairs):
            return
    except (TypeError, ValueError):
        pass  # not two strings: said below
    for number, merge in enumerate(merges):
        pair = merge.split(" ") if isinstance(merge, str) else merge
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(part, str) for part in pair)):
            raise SeaError(f"{where}: merge {number}, {merge!r}, is not two pieces", fix="get the file again")
        for piece in (*pair, pair[0] + pair[1]):
            if piece not in vocabulary:
                raise SeaError(
                    f"{where}: merge {number}, {merge!r}, needs the piece {piece!r}, which is missing",
                    fix="get the file again; vocabulary and merges must come from the same tokenizer",
                )


def _added_id(token: Any, where: Path) -> int:
    id = token.get("id") if isinstance(token, dict) else None
    if not is_id(id):
        raise SeaError(f"{where}: the added token {token!r} has no id", fix="get the file again")
    return id


def _build_engine(json_model: dict[str, Any], where: Path) -> tokenizers.Tokenizer:
    import tokenizers

    with explained("tokenizers cannot load it", where):
        engine = tokenizers.Tokenizer.from_str(json.dumps(json_model))
    engine.no_padding()
    engine.no_truncation()
    return engine


def _steps(part: Any) -> Iterable[dict[str, Any]]:
    """A normalizer, pre-tokenizer or decoder, its sequences flattened."""
    if not isinstance(part, dict):
        return
    if part.get("type") == "Sequence":
        for key in ("normalizers", "pretokenizers", "decoders"):
            for step in part.get(key) or []:
                yield from _steps(step)
    else:
        yield part


def _dump(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
