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


def existing_tokens(tokenizer: Tokenizer, base: Base, extended: Tokenizer) -> Iterator[dict[str, Any]]:
    """A record for each old token that is woken or that no text gives now, in id order.

    `tokenizer`: as it was; `base`: opened, not used up. `reason`: woken, dormant or unreachable (text/reachability.py);
    `pieces`: what the old tokenizer makes of its text.
    """
    before, after = unreachable_tokens(tokenizer), unreachable_tokens(extended)
    for id, reason in before.items():
        if extended.piece(id) != tokenizer.piece(id):
            continue  # its id is a new token's now
        data = tokenizer.piece_bytes(id)
        spelled = base.spelling(data)
        pieces = [] if spelled is None else base.encode_words([spelled]).ids.tolist()
        if pieces == [id]:
            pieces = tokenizer.encode(data.decode("utf-8", "replace"))
        yield {
            "token": tokenizer.piece(id),
            "id": id,
            "bytes": data.hex(),
            "pieces": pieces,
            "reason": after.get(id, "woken"),
            "was": reason,
        }
