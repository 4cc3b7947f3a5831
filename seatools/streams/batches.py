"""A stream cut into batches, for engines that work faster on many texts at once: bounded in items and in size."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from seatools.streams.records import Record

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


def record_batches(records: Iterable[Record]) -> Iterator[list[Record]]:
    """Records to tokenise together: 1,024 of them or 4 MiB of lines."""
    return batches(records, lambda record: len(record.raw), max_size=4 << 20, max_items=1024)
