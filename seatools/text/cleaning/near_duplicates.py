"""Near duplicates among any number of documents: MinHash, bands, every pair looked at again, groups by union-find.

Two documents are near duplicates if the Jaccard similarity of their sets of character n-grams, estimated from their
sketches (`minhash.py`), reaches the threshold; a group is what such pairs connect, and its first document is kept.
Pairs come from bands (Broder 1997; Leskovec et al., Mining of Massive Datasets, ch. 3). Within a bucket of one band a
document is compared with the bucket's first and with the 32 before it, so a bucket of n costs 33 n and not n^2 / 2; a
pair further apart in a crowd of unlike documents is found through another band or not at all.
Cost: 2 * num_hashes + 4 * bands bytes a document (320 at the defaults), which go to unnamed files past half of
`memory_bytes`; while `find` runs 33 bytes a document, and `memory_bytes` to sort a band in partitions of its keys.
Measured (benchmarks/near_duplicates.py): 49 MB/CPU s, 25 times datasketch, recall of what to drop 0.99 (it: 0.93).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from seatools.streams.errors import SeaError, UsageError
from seatools.text.cleaning.minhash import band_keys, bands_and_rows, bin_minima, similarity, sketches
from seatools.text.cleaning.union_find import UnionFind

NEIGHBOURS = 32
BATCH_DOCS = 4096  # documents whose signatures are made at once: 4 KiB each at work
BATCH_PAIRS = 1 << 14
PARTITION_DOCS = 1 << 14  # a partition is made for this many at least, whatever the memory


class NearDuplicates:
    """Takes documents in turn, then tells which of them is kept in the stead of each.

    `threshold`: the Jaccard similarity from which two are the same; `ngram`: characters; `num_hashes`: a power of two,
    the estimate's standard deviation is sqrt(J (1 - J) / num_hashes); `folder`: where the files go that hold what is
    more than `memory_bytes` (None: the system's place for temporary files). They have no names and vanish with the
    object or the process. The result depends on the documents, their order, and the first three options alone.
    """

    def __init__(
        self,
        *,
        threshold: float = 0.8,
        ngram: int = 5,
        num_hashes: int = 128,
        memory_bytes: int = 1 << 29,
        folder: Path | None = None,
    ) -> None:
        if not 0 < threshold <= 1:
            raise UsageError(f"the similarity of near duplicates is {threshold}; it must be above 0 and at most 1")
        if ngram < 1:
            raise UsageError(f"n-grams of {ngram} characters: at least 1")
        if not (16 <= num_hashes <= 4096 and num_hashes.bit_count() == 1):
            raise UsageError(f"{num_hashes} hashes: it must be a power of two from 16 to 4096")
        if memory_bytes < 1:
            raise UsageError(f"a memory of {memory_bytes} bytes: at least 1")
        self.threshold = threshold
        self.ngram = ngram
        self.num_hashes = num_hashes
        self.memory_bytes = memory_bytes
        self.bands, self.rows = bands_and_rows(threshold, num_hashes)
        self.num_docs = 0
        self._sketches = _Column(np.dtype(np.uint16), num_hashes, folder)
        self._keys = [_Column(np.dtype(np.uint32), 1, folder) for _ in range(self.bands)]

    def add(self, texts: Sequence[str]) -> None:
        """Further documents, numbered on from those before. Raises SeaError for more than 2 ** 32 in all."""
        if self.num_docs + len(texts) > 1 << 32:
            raise SeaError(f"near duplicates among more than {1 << 32:,} documents", fix="clean the sources one by one")
        for first in range(0, len(texts), BATCH_DOCS):
            batch = texts[first : first + BATCH_DOCS]
            minima = bin_minima(batch, ngram=self.ngram, num_hashes=self.num_hashes)
            self._sketches.append(sketches(minima))
            for column, keys in zip(self._keys, band_keys(minima, self.bands, self.rows), strict=True):
                column.append(keys[:, None])
            self.num_docs += len(batch)
            held = self._sketches.held_bytes + sum(column.held_bytes for column in self._keys)
            if held > self.memory_bytes // 2:  # joining what is held takes as much again
                for column in (self._sketches, *self._keys):
                    column.spill()

    def find(self) -> np.ndarray:
        """[docs] int64: the number of the document that is kept in the stead of each; its own number if it is kept."""
        rows = self._sketches.read()
        groups = UnionFind(self.num_docs)
        for column in self._keys:
            for docs, starts in self._buckets(column.read()[:, 0]):
                self._join_bucket_members(docs, starts, rows, groups)
        return groups.all_roots()

    def _buckets(self, keys: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(docs, starts) of the documents that share their key with another, in partitions of the key range.

        docs: [members] int64, bucket by bucket, in their order; starts: [members], where the bucket of each begins.
        """
        fitting = max(PARTITION_DOCS, self.memory_bytes // 40)  # 40 bytes a document at work
        bits = max(0, (len(keys) - 1) // fitting).bit_length()  # of a key that tell its partition
        for partition in range(1 << bits):
            found = []
            for first in range(0, len(keys), fitting):
                part = np.asarray(keys[first : first + fitting])
                mine = np.flatnonzero(part >> np.uint32(32 - bits) == partition) if bits else np.arange(len(part))
                found.append((part[mine].astype(np.uint64) << np.uint64(32)) | (mine + first).astype(np.uint64))
            if not found:
                continue
            entries = np.concatenate(found)
            entries.sort()
            key = entries >> np.uint64(32)
            begins = np.ones(len(entries), dtype=bool)
            np.not_equal(key[1:], key[:-1], out=begins[1:])
            shared = ~begins
            shared[:-1] |= ~begins[1:]
            members = np.flatnonzero(shared)
            first_of = np.flatnonzero(begins[members])
            starts = np.repeat(first_of, np.diff(first_of, append=len(members)))
            yield (entries[members] & np.uint64(0xFFFFFFFF)).astype(np.int64), starts

    def _join_bucket_members(self, docs: np.ndarray, starts: np.ndarray, rows: np.ndarray, groups: UnionFind) -> None:
        place = np.arange(len(docs))
        self._join(docs[starts], docs, rows, groups)
        for distance in range(1, NEIGHBOURS + 1):
            place = place[place - distance > starts[place]]  # the first was compared already
            if not len(place):
                break
            self._join(docs[place - distance], docs[place], rows, groups)

    def _join(self, a: np.ndarray, b: np.ndarray, rows: np.ndarray, groups: UnionFind) -> None:
        """Unite those pairs of documents a[i], b[i] that are in two groups and similar."""
        apart = np.flatnonzero(groups.roots(a) != groups.roots(b))
        for first in range(0, len(apart), BATCH_PAIRS):
            pairs = apart[first : first + BATCH_PAIRS]
            alike = pairs[similarity(rows[a[pairs]], rows[b[pairs]]) >= self.threshold]
            groups.union(a[alike], b[alike])


class _Column:
    """Rows of `width` numbers that are appended and then read as one array, from memory or from an unnamed file."""

    def __init__(self, dtype: np.dtype, width: int, folder: Path | None) -> None:
        self._dtype, self._width, self._folder = dtype, width, folder
        self._held: list[np.ndarray] = []
        self._file: IO[bytes] | None = None
        self._spilled_rows = 0
        self.held_bytes = 0

    def append(self, rows: np.ndarray) -> None:
        self._held.append(rows)
        self.held_bytes += rows.nbytes

    def spill(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115
        for rows in self._held:
            self._file.write(np.ascontiguousarray(rows).data)
            self._spilled_rows += len(rows)
        self._file.flush()
        self._held, self.held_bytes = [], 0

    def read(self) -> np.ndarray:
        """All rows, [rows, width]; those of a file are mapped, not read."""
        if self._file is not None:
            self.spill()
            shape = (self._spilled_rows, self._width)
            return np.memmap(self._file, dtype=self._dtype, mode="r", shape=shape)
        held = np.concatenate([np.empty((0, self._width), self._dtype), *self._held])
        self._held = [held]
        return held
