"""Which tokens no text gives, and why: the model never makes them, or what comes before the model cuts them apart.

`unreachable`: the merges (or scores) alone, fed the token's own spelling with `ignore_merges` off, give something else.
BPE inside a span does not depend on what stands around it, so no longer text gives them either (an engine that looks
whole words up first, as Llama-3's and tiktoken do, still can). `dormant`: the model gives the token, but pre-tokenizer,
normaliser or added tokens keep its text from arriving whole: its row is untrained (61 % of Qwen2's Thai tokens,
vocab-embed.md 7.1). One text that gives a token proves it reachable, so many are asked in one text; only what is still
missing is tried alone, in each of the CONTEXTS. Special, added, byte-fallback and UNK tokens are not looked at; of
tokens that cut a character only the model is asked. Cost: 1.0 s for Qwen2's 151,643 and for o200k's 199,998.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from seatools.streams.errors import SeaError
from seatools.text.huggingface_json import JsonTokenizer
from seatools.text.sentencepiece_model import SentencePieceTokenizer
from seatools.text.tiktoken_ranks import TiktokenTokenizer
from seatools.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    import tokenizers

Reason = Literal["dormant", "unreachable"]

# Private-use characters are no letters, digits or spaces, and merge with nothing.
_APART = "\ue000"
# What tokens lean on, before and after: nothing, spaces, letters, digits, line ends, punctuation.
CONTEXTS = (
    "{}", f"{_APART}{{}}", f"{{}}{_APART}", "a{}", "{}a", "a{}a", "a {}", "{} a", "\n{}", "{}\n", ".{}", "{}.", "1{}",
    "{}1", " {}", "{} ",
)  # fmt: skip
_USER_DEFINED = 4  # ModelProto.SentencePiece.Type
_TOGETHER = 64  # pieces asked in one text: 0.2 s for 151,643 pieces, where one by one takes 1.3 s


def ordinary_ids(tokenizer: Tokenizer) -> list[int]:
    """The ids of learned pieces: no special, added, user-defined, byte-fallback or UNK token, nothing unused."""
    skipped = {*tokenizer.special_ids.values(), *tokenizer.byte_ids, tokenizer.unk_id, *added_ids(tokenizer)}
    return [id for id in range(tokenizer.vocab_size) if id not in skipped and _has_piece(tokenizer, id)]


def added_ids(tokenizer: Tokenizer) -> set[int]:
    """The ids of tokens that are matched in the text before the model sees it, special ones not counted."""
    added = {token.id for token in getattr(tokenizer, "added_tokens", ()) if token.id is not None}
    if isinstance(tokenizer, SentencePieceTokenizer):
        added |= {id for id, piece in enumerate(tokenizer.model_proto.pieces) if piece.type == _USER_DEFINED}
    return added - {*tokenizer.special_ids.values()}


def unreachable_tokens(tokenizer: Tokenizer) -> dict[int, Reason]:
    """id -> reason, in id order, for the ordinary tokens that no text gives."""
    ids = ordinary_ids(tokenizer)
    made = made_by_model(tokenizer, ids)
    found: dict[int, Reason] = {id: "unreachable" for id in ids if id not in made}
    texts = {id: text for id in ids if id in made and (text := _text(tokenizer, id)) is not None}
    encode = _encoder(tokenizer)
    for number in range(-1, len(CONTEXTS)):
        asked = _joined(list(texts.values())) if number < 0 else map(CONTEXTS[number].format, texts.values())
        given = _given(encode(list(asked)))
        texts = {id: text for id, text in texts.items() if id not in given}
    return dict(sorted((found | dict.fromkeys(texts, "dormant")).items()))


def made_by_model(tokenizer: Tokenizer, ids: Sequence[int]) -> set[int]:
    """Those of the ordinary `ids` that the model alone gives for their own spelling, whole words not looked up."""
    if isinstance(tokenizer, TiktokenTokenizer):
        return _made_by_ranks(tokenizer, ids)
    pieces = [tokenizer.piece(id) for id in ids]
    if isinstance(tokenizer, SentencePieceTokenizer):
        return _given(tokenizer.bare_engine.Encode(pieces, out_type=int))
    assert isinstance(tokenizer, JsonTokenizer)
    spelled = "".join(pieces)
    apart = next(chr(code) for code in range(0xE000, 0xF900) if chr(code) not in spelled)
    return _given(_ids(_bare_json(tokenizer, apart), _joined(pieces, apart)))


def _made_by_ranks(tokenizer: TiktokenTokenizer, ids: Iterable[int]) -> set[int]:
    # tiktoken looks whole pieces up first, so each is asked for with a byte behind it that nothing merges with.
    last = {data[-1] for data in tokenizer.ranks if len(data) > 1}
    free = next((byte for byte in range(255, -1, -1) if byte not in last), None)
    if free is None:
        raise SeaError(f"{tokenizer.path}: every byte ends some token, so its merges cannot be tested")
    end = bytes([free])
    merge: Callable[[bytes], list[int]] = tokenizer.engine._core_bpe.encode_single_piece
    return _given(merge(tokenizer.piece_bytes(id) + end) for id in ids) | {tokenizer.ranks[end]}


def _bare_json(tokenizer: JsonTokenizer, apart: str) -> tokenizers.Tokenizer:
    """The model alone; it reads pieces as they are spelled, with `apart` between them."""
    import tokenizers

    engine = _unlooked(tokenizer, {}) or tokenizers.Tokenizer(tokenizer.engine.model)
    engine.pre_tokenizer = tokenizers.pre_tokenizers.Split(apart, "removed")
    return engine


def _unlooked(tokenizer: JsonTokenizer, rest: dict[str, Any]) -> tokenizers.Tokenizer | None:
    """`rest` of a tokenizer.json around the model with `ignore_merges` off; None where it is off already."""
    import tokenizers

    model = tokenizer.json_model["model"]
    if not model.get("ignore_merges"):
        return None
    engine = tokenizers.Tokenizer.from_str(json.dumps({**rest, "model": {**model, "ignore_merges": False}}))
    engine.no_padding()
    engine.no_truncation()
    engine.encode_special_tokens = True
    return engine


def _encoder(tokenizer: Tokenizer) -> Callable[[list[str]], list[list[int]]]:
    """How the tokenizer encodes running text, whole words not looked up where the engine can be told so."""
    if isinstance(tokenizer, JsonTokenizer):
        engine = _unlooked(tokenizer, tokenizer.json_model) or tokenizer.engine
        return lambda texts: _ids(engine, texts)
    return lambda texts: tokenizer.encode_batch(texts, workers=1)


def _ids(engine: tokenizers.Tokenizer, texts: list[str]) -> list[list[int]]:
    return [encoding.ids for encoding in engine.encode_batch_fast(texts, add_special_tokens=False)]


def _joined(texts: list[str], apart: str = _APART) -> list[str]:
    return [apart.join(texts[start : start + _TOGETHER]) for start in range(0, len(texts), _TOGETHER)]


def _given(encoded: Iterable[list[int]]) -> set[int]:
    given: set[int] = set()
    for ids in encoded:
        given.update(ids)
    return given


def _has_piece(tokenizer: Tokenizer, id: int) -> bool:
    try:
        tokenizer.piece(id)
    except SeaError:
        return False
    return True


def _text(tokenizer: Tokenizer, id: int) -> str | None:
    """The text of a piece; None if it is not UTF-8 or stands for nothing."""
    try:
        return tokenizer.piece_bytes(id).decode() or None
    except UnicodeDecodeError:
        return None
