"""Documents in batches for the engines: tokenizers keeps about 100 bytes for each token while it encodes one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

_SIZE = 1 << 18  # characters


def batches(texts: Iterable[str]) -> Iterator[list[str]]:
    """Lists of documents of some 260,000 characters together (or one longer document)."""
    batch: list[str] = []
    size = 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size >= _SIZE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
