"""A tokenizer without text: how large it is, and for which writing systems it has tokens."""

from __future__ import annotations

from collections import Counter

from seatools.streams.errors import SeaError
from seatools.text.scripts import main_script
from seatools.text.tokenizer import Tokenizer


def summarise(tokenizer: Tokenizer) -> tuple[dict[str, float], dict[str, int]]:
    """Measure -> value, and script -> number of tokens with most letters in it, the largest first.

    `byte_tokens` are pieces of one byte that is no ASCII character (byte fallback: all 256); `incomplete_tokens`
    cut a character; `unused_ids` have no piece.
    """
    special = frozenset(tokenizer.special_ids.values())
    scripts: Counter[str] = Counter()
    single = incomplete = unused = 0
    for id in range(tokenizer.vocab_size):
        if id in special or id in tokenizer.byte_ids:
            continue
        try:
            data = tokenizer.piece_bytes(id)
        except SeaError:
            unused += 1
            continue
        try:
            script = main_script(data.decode())
        except UnicodeDecodeError:
            single += len(data) == 1
            incomplete += len(data) > 1
            continue
        if script is not None:
            scripts[script] += 1
    values: dict[str, float] = {
        "vocab_size": tokenizer.vocab_size,
        "special_tokens": len(special),
        "byte_tokens": len(tokenizer.byte_ids) + single,
        "incomplete_tokens": incomplete,
        "unused_ids": unused,
    }
    return values, dict(sorted(scripts.items(), key=lambda item: (-item[1], item[0])))
