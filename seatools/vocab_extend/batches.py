"""Documents in batches for the engines: tokenizers keeps about 100 bytes for each token while it encodes one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from seatools.streams import batches as streams_batches

_CHARACTERS = 1 << 18


def batches(texts: Iterable[str]) -> Iterator[list[str]]:
    """Lists of documents of some 260,000 characters together (or one longer document)."""
    return streams_batches.batches(texts, len, max_size=_CHARACTERS)
