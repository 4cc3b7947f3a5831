"""Whether a tokenizer given beside a model means the same ids as the model's own.

A model reads ids; a tokenizer with other pieces at the same ids trains and scores it on noise, and the losses only look
high. So the two are held against each other wherever the model's folder has one.
"""

from __future__ import annotations

from pathlib import Path

from seatools.streams.errors import SeaError
from seatools.text.tokenizer import Tokenizer, load_tokenizer


def other_pieces(tokenizer: Tokenizer, model_path: Path) -> str | None:
    """A warning if ids that `tokenizer` shares with the one in `model_path` stand for other bytes; else None.

    None, too, if the folder holds no tokenizer that can be read: then the one that was given is all there is.
    """
    if tokenizer.path.resolve() == model_path.resolve():
        return None
    try:
        own = load_tokenizer(model_path)
    except SeaError:
        return None
    if own.digest() == tokenizer.digest():
        return None
    shared = range(min(own.vocab_size, tokenizer.vocab_size))
    other = [id for id in shared if own.bytes_or_none(id) != tokenizer.bytes_or_none(id)]
    if not other:
        return None
    first = other[0]
    return (
        f"{tokenizer.path} is not the tokenizer of {model_path}: {len(other):,} of {len(shared):,} ids stand for other "
        f"text (id {first} for {_shown(tokenizer, first)}, the model's for {_shown(own, first)})"
    )


def _shown(tokenizer: Tokenizer, id: int) -> str:
    known = tokenizer.bytes_or_none(id)
    return "nothing" if known is None else repr(known.decode(errors="replace"))
