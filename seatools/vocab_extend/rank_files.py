"""tiktoken rank files and tekken.json with new tokens.

In both, the rank is the priority and (in tekken, plus the number of special tokens) the id, so new ones can only come
last. A rank file stays as it is, byte for byte, with lines after it. tekken.json keeps the entries in use; the surplus
that public files carry beyond them (150,000 of which 130,072 are used) would get the new ids, so it goes.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

from seatools.text.tekken import TekkenTokenizer
from seatools.vocab_extend.new_token import NewToken


def extended_ranks(old: bytes, tokens: Sequence[NewToken]) -> bytes:
    """The rank file `old` with a line for each token."""
    lines = b"".join(base64.b64encode(token.data) + b" %d\n" % token.id for token in tokens)
    return old + (b"" if old.endswith(b"\n") else b"\n") + lines


def extended_tekken(tokenizer: TekkenTokenizer, tokens: Sequence[NewToken]) -> bytes:
    """tekken.json with the tokens after the entries in use."""
    parsed: dict[str, Any] = tokenizer.parsed
    entries = parsed["vocab"][: tokenizer.vocab_size - tokenizer.num_special]
    entries += [
        {
            "rank": token.id - tokenizer.num_special,
            "token_bytes": base64.b64encode(token.data).decode(),
            "token_str": _text(token.data),
        }
        for token in tokens
    ]
    config = {
        **parsed["config"],
        "num_vocab_tokens": len(entries),
        "default_vocab_size": tokenizer.num_special + len(entries),
    }
    extended = {**parsed, "config": config, "vocab": entries}
    return (json.dumps(extended, ensure_ascii=False, indent=4) + "\n").encode()


def _text(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None
