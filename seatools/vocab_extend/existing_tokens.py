"""Tokens of the base whose rows were never trained: those that no text gives, and those that another cutting wakes.

Another pre-tokenizer (`--pretokenizer marks`) makes tokens reachable that the base's own never gave (61 % of Qwen2's
Thai ones, vocab-embed.md 7.1). Their rows hold noise, so `embed-init` has to be able to make them anew: each is listed
with the tokens that stood for its text before.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from seatools.text.reachability import unreachable_tokens
from seatools.text.tokenizer import Tokenizer
from seatools.vocab_extend.corpus import Base

EXISTING_TOKENS = "existing_tokens.jsonl"


def existing_tokens(
    tokenizer: Tokenizer, base: Base, extended: Tokenizer, *, same_cutting: bool
) -> Iterator[dict[str, Any]]:
    """A record for each old token that is woken or that no text gives now, in id order.

    `tokenizer`: as it was; `base`: opened from it. `same_cutting`: whether the pre-tokenizer is the old one; then no
    old token wakes, for new merges come after those of the base. `reason`: woken, dormant or unreachable
    (text/reachability.py); `pieces`: what the old tokenizer makes of its text.
    """
    before = unreachable_tokens(tokenizer)
    after = before if same_cutting else unreachable_tokens(extended)
    ids = [id for id in before if extended.piece(id) == tokenizer.piece(id)]  # others are new tokens' now
    spelled = [base.spelling(tokenizer.piece_bytes(id)) or "" for id in ids]
    parts = base.encode_words(spelled)
    for number, id in enumerate(ids):
        data, pieces = tokenizer.piece_bytes(id), list(parts.word(number))
        if pieces == [id]:
            pieces = tokenizer.encode(data.decode("utf-8", "replace"))
        yield {
            "token": tokenizer.piece(id),
            "id": id,
            "bytes": data.hex(),
            "pieces": pieces,
            "reason": after.get(id, "woken"),
            "was": before[id],
        }
