"""The base's tokenizer files with the new tokens in them: `.model`, `tokenizer.json`, vocab.json + merges.txt.

Only files that the base had are written; configuration and chat templates are copied. Old ids, pieces, scores and
merges stay as they are and in their order. Traps (vocab-embed.md 1a, 1d):
- tokenizers numbers an added token anew unless the model's vocabulary has it, so added tokens go into it too;
- a `.model` has no gaps, so ids of added tokens beyond its end become control (or user-defined) pieces;
- new scores fall strictly, below *every* base score: with scores between those of Mistral's white-space runs (-1e9) and
  the rest, a new `▁x` would win over `▁▁` (in 5 of 32,210 lines). At -1e9 float32 steps are 64, hence the next float;
- tokenizer.json beside a SentencePiece model gets every split of every new piece, and before those every split of a
  base piece that has a new piece as a part, since sentencepiece joins these too, and at once.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from seatools.streams.errors import SeaError
from seatools.text.huggingface_json import JsonTokenizer
from seatools.text.sentencepiece_model import SentencePieceTokenizer
from seatools.text.special_tokens import AddedToken, read_bytes, read_json
from seatools.vocab_extend.new_token import NewToken

_NORMAL, _CONTROL, _USER_DEFINED = 1, 3, 4  # ModelProto.SentencePiece.Type


def write_extended(
    tokenizer: SentencePieceTokenizer | JsonTokenizer, tokens: Sequence[NewToken], folder: Path
) -> list[str]:
    """Write all tokenizer files of `tokenizer` with `tokens` into `folder`; the names written."""
    if isinstance(tokenizer, SentencePieceTokenizer):
        merges = list(_every_split(tokenizer, tokens))
    else:
        _check_pair(tokenizer)
        merges = _merges(tokens, tokenizer)
    names: list[str] = []
    for number, file in enumerate(tokenizer.files):
        name = file.name
        if isinstance(tokenizer, SentencePieceTokenizer) and number == 0:
            (folder / name).write_bytes(extended_model(tokenizer, tokens))
        elif name == "merges.txt":
            _write_merges(file, merges, folder / name)
        elif name == "vocab.json":
            vocabulary = read_json(file) | _new_entries(tokens, tokenizer.added_tokens)
            (folder / name).write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
        elif name == "tokenizer.json" or number == 0:
            name = "tokenizer.json"
            _write_json(file, tokens, tokenizer.added_tokens, merges, folder / name)
        else:
            shutil.copyfile(file, folder / name)
        names.append(name)
    return names


def extended_model(tokenizer: SentencePieceTokenizer, tokens: Sequence[NewToken]) -> bytes:
    """The `.model` with the new pieces appended, serialised."""
    import numpy as np

    proto = type(tokenizer.model_proto)()
    proto.CopyFrom(tokenizer.model_proto)
    by_id = {token.id: token for token in tokenizer.added_tokens}
    for id in range(len(proto.pieces), tokenizer.vocab_size):
        added = by_id.get(id)
        kind = _USER_DEFINED if added is not None and not added.special else _CONTROL
        proto.pieces.add(piece=f"<unused_{id}>" if added is None else added.content, score=0.0, type=kind)
    score = np.float32(min((piece.score for piece in proto.pieces if piece.type == _NORMAL), default=0.0))
    for token in tokens:
        lower = np.float32(score - np.float32(1))
        score = lower if lower < score else np.nextafter(score, np.float32("-inf"))
        if not np.isfinite(score):
            raise SeaError(f"{tokenizer.path}: its scores leave no room below them", fix="retrain or rescale the model")
        proto.pieces.add(piece=token.piece, score=float(score), type=_NORMAL)
    proto.trainer_spec.vocab_size = len(proto.pieces)
    serialized: bytes = proto.SerializeToString(deterministic=True)
    return serialized


def _every_split(tokenizer: SentencePieceTokenizer, tokens: Sequence[NewToken]) -> Iterator[tuple[str, str]]:
    """Merges for tokenizer.json that do what sentencepiece does, in the order of its scores."""
    base = [piece for piece in tokenizer.model_proto.pieces if piece.type == _NORMAL]
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


def _merges(tokens: Sequence[NewToken], tokenizer: JsonTokenizer) -> list[tuple[str, str]]:
    spelled = {token.id: token.piece for token in tokens}

    def piece(id: int) -> str:
        return spelled[id] if id in spelled else tokenizer.piece(id)

    return [(piece(token.parents[0]), piece(token.parents[1])) for token in tokens if token.parents is not None]


def _new_entries(tokens: Iterable[NewToken], added: Iterable[AddedToken]) -> dict[str, int]:
    kept = {token.content: token.id for token in added if token.id is not None}
    return kept | {token.piece: token.id for token in tokens}


def _write_json(
    source: Path,
    tokens: Sequence[NewToken],
    added: Sequence[AddedToken],
    merges: Sequence[tuple[str, str]],
    target: Path,
) -> None:
    parsed: dict[str, Any] = read_json(source)
    model = parsed["model"]
    model["vocab"] = model["vocab"] | _new_entries(tokens, added)
    old = model.get("merges") or []
    as_text = bool(old) and isinstance(old[0], str)  # files of tokenizers before 0.20
    model["merges"] = old + [" ".join(pair) if as_text else list(pair) for pair in merges]
    target.write_text(json.dumps(parsed, ensure_ascii=False, indent=2), encoding="utf-8")


def _write_merges(source: Path, merges: Sequence[tuple[str, str]], target: Path) -> None:
    old = read_bytes(source)
    lines = "".join(f"{left} {right}\n" for left, right in merges)
    target.write_bytes(old + (b"" if old.endswith(b"\n") else b"\n") + lines.encode())


def _check_pair(tokenizer: JsonTokenizer) -> None:
    """tokenizer.json and the vocab.json beside it must hold the same pieces."""
    for file in tokenizer.files[1:]:
        if file.name != "vocab.json":
            continue
        ids = tokenizer.vocabulary | {token.content: token.id for token in tokenizer.added_tokens}
        for piece, id in read_json(file).items():
            if ids.get(piece) != id:
                raise SeaError(
                    f"{piece!r} has id {id} in {file} and {ids.get(piece, 'none')} in {tokenizer.files[0]}",
                    fix="one of the two files is not this model's: give tokenizer.json alone",
                )
