"""The order of the documents inside a source: a permutation keyed by (seed, source name, epoch).

The document at any position is computed from the position alone: a Feistel network over the a x b grid that just holds
the document numbers (a is about b), eight rounds, each adding a keyed hash of one coordinate to the other; a result
outside the numbers goes through the network again (Black and Rogaway, CT-RSA 2002, "cycle walking" and
"generalised Feistel"). So every epoch has an order of its own, nothing depends on workers, other sources or numpy's
generators, a shard of the output begins anywhere, and memory is that of one slice. The hash is SplitMix64 (Steele,
Lea, Flood, OOPSLA 2014). Given up for that: a document added at the end of a source reorders the others.
Cost: eight hashes a document, in slices of 65,536 of them.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from typing import Literal

import numpy as np

Shuffle = Literal["none", "global"]
SLICE = 1 << 16
ROUNDS = 8


def permuted(positions: np.ndarray, num_docs: int, *, seed: int, name: str, epoch: int) -> np.ndarray:
    """The document numbers [n] int64 at `positions` [n] (integers from 0 below `num_docs`) of one epoch."""
    key = hashlib.sha512(f"sea mix\0{seed}\0{name}\0{epoch}".encode()).digest()
    keys = np.frombuffer(key, dtype="<u8")  # 8 of them, one a round
    width = math.isqrt(max(num_docs - 1, 0)) + 1
    height = -(-num_docs // width) or 1
    docs = np.asarray(positions).astype(np.uint64)
    outside = np.arange(len(docs))
    while len(outside):
        docs[outside] = _through_grid(docs[outside], width, height, keys)
        outside = outside[docs[outside] >= np.uint64(num_docs)]
    return docs.astype(np.int64)


def epoch_order(num_docs: int, *, seed: int, name: str, epoch: int, shuffle: Shuffle = "global") -> np.ndarray:
    """Document numbers in the order of one epoch, [num_docs] int64; "none" is the order of the files."""
    parts = list(_slices(0, num_docs, num_docs, seed, name, epoch, shuffle))
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)


def nth_documents(start: int, stop: int, num_docs: int, *, seed: int, name: str, shuffle: Shuffle) -> np.ndarray:
    """Documents start ... stop - 1 of all epochs end to end, [stop - start] int64."""
    parts: list[np.ndarray] = []
    while start < stop:
        epoch, position = divmod(start, num_docs)
        end = min(num_docs, position + stop - start)
        parts.extend(_slices(position, end, num_docs, seed, name, epoch, shuffle))
        start += end - position
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)


def _slices(
    start: int, stop: int, num_docs: int, seed: int, name: str, epoch: int, shuffle: Shuffle
) -> Iterator[np.ndarray]:
    for first in range(start, stop, SLICE):
        positions = np.arange(first, min(first + SLICE, stop))
        yield positions if shuffle == "none" else permuted(positions, num_docs, seed=seed, name=name, epoch=epoch)


def _through_grid(numbers: np.ndarray, width: int, height: int, keys: np.ndarray) -> np.ndarray:
    """The Feistel network: a bijection of 0 ... width * height - 1, for [n] uint64."""
    row, column = np.divmod(numbers, np.uint64(width))
    for i in range(0, ROUNDS, 2):
        column = _added(column, row, width, keys[i])
        row = _added(row, column, height, keys[i + 1])
    return row * np.uint64(width) + column


def _added(to: np.ndarray, by: np.ndarray, size: int, key: np.uint64) -> np.ndarray:
    """`to` plus the keyed hash of `by`, modulo `size` (below 2^32): the hash's upper half scaled down to it."""
    summed = to + ((_splitmix(by ^ key) >> np.uint64(32)) * np.uint64(size) >> np.uint64(32))
    return np.where(summed >= np.uint64(size), summed - np.uint64(size), summed)


def _splitmix(words: np.ndarray) -> np.ndarray:
    """SplitMix64's step for each of [n] uint64; a bijection, modulo 2^64."""
    words = words + np.uint64(0x9E3779B97F4A7C15)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
