"""A stream cut into batches, for engines that work faster on many texts at once: bounded in items and in size."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def batches(
    items: Iterable[T], size: Callable[[T], int], *, max_size: int, max_items: int = sys.maxsize
) -> Iterator[list[T]]:
    """Lists of consecutive items, each ended by `max_items` or by the item whose `size` brings it to `max_size`."""
    batch: list[T] = []
    total = 0
    for item in items:
        batch.append(item)
        total += size(item)
        if len(batch) >= max_items or total >= max_size:
            yield batch
            batch, total = [], 0
    if batch:
        yield batch
