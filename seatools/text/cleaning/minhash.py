"""MinHash signatures of whole batches of texts at once, over character n-grams, for scripts with and without spaces.

One-permutation hashing (Li, Owen and Zhang, NIPS 2012): every n-gram is hashed once, the high bits choose one of k bins
and each bin keeps its minimum, so a signature costs one pass and not k. Their estimate of Jaccard similarity, equal
bins over bins that either text fills, is unbiased, and nearly exact for texts of fewer n-grams than bins. Banding needs
every bin, so for it alone empty bins borrow from full ones (optimal densification: Shrivastava, ICML 2017).
All n-grams of about a million characters are numpy arrays, 20 bytes a character at work; much of the time is that of
`normalise`. Rates: benchmarks/near_duplicates.py.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np

EMPTY = np.uint32(0xFFFFFFFF)  # no n-gram fell into this bin
PAD = 0x110000  # one more than the last code point: fills texts shorter than an n-gram
BLOCK_CHARS = 1 << 20
CACHED_CHARS = 1 << 15  # arrays of 128 KiB stay in a core's L2
ATTEMPTS = 32  # of densification, before the next full bin to the right serves


def normalise(text: str) -> str:
    """`text` as near duplicates are told: case folded, NFC, each run of white space one space, none at the ends."""
    return unicodedata.normalize("NFC", " ".join(text.casefold().split()))


def bin_minima(texts: Sequence[str], *, ngram: int = 5, num_hashes: int = 128) -> np.ndarray:
    """The least hash of each bin's n-grams, [texts, num_hashes] uint32, EMPTY where there is none.

    `num_hashes` is a power of two. A text of fewer than `ngram` characters counts as one n-gram, filled up with what
    is no character: it is like a text that is the same, and like no other. The same for any cutting into batches.
    """
    minima = np.full((len(texts), num_hashes), EMPTY, dtype=np.uint32)
    for first, block in _blocks([normalise(text) for text in texts]):
        _fill_minima(block, ngram, minima[first : first + len(block)])
    return minima


def _blocks(texts: Sequence[str]) -> Iterator[tuple[int, Sequence[str]]]:
    """(index of the first, texts) of runs of about BLOCK_CHARS characters."""
    first, size = 0, 0
    for i, text in enumerate(texts):
        size += len(text)
        if size >= BLOCK_CHARS or i == len(texts) - 1:
            yield first, texts[first : i + 1]
            first, size = i + 1, 0


def _fill_minima(texts: Sequence[str], ngram: int, minima: np.ndarray) -> None:
    lengths = np.array([max(len(text), ngram) for text in texts], dtype=np.int64)
    ends = np.cumsum(lengths)
    codes = np.full(int(ends[-1]) + ngram - 1, PAD, dtype=np.uint32)
    points = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    if len(points) == ends[-1]:
        codes[: len(points)] = points
    else:  # some are shorter than an n-gram
        sizes = np.array([len(text) for text in texts], dtype=np.int64)
        shift = np.repeat(ends - lengths - (np.cumsum(sizes) - sizes), sizes)
        codes[np.arange(len(points)) + shift] = points

    hashes = np.empty(int(ends[-1]), dtype=np.uint32)
    multipliers = _random_words(ngram, seed=1) | np.uint32(1)
    for start in range(0, len(hashes), CACHED_CHARS):
        part = hashes[start : start + CACHED_CHARS]
        window = codes[start : start + len(part) + ngram - 1]
        np.multiply(window[: len(part)], multipliers[0], out=part)
        for i in range(1, ngram):
            part += window[i : i + len(part)] * multipliers[i]
        _mix(part)
    for i in range(1, ngram):
        hashes[ends - i] = EMPTY  # n-grams that would run on into the next text

    num_hashes = minima.shape[1]
    shift_bits = np.uint32(32 - (num_hashes.bit_length() - 1))
    base = np.repeat(np.arange(len(texts)) * num_hashes, lengths)
    flat = minima.reshape(-1)
    for start in range(0, len(hashes), CACHED_CHARS):
        part = hashes[start : start + CACHED_CHARS]
        np.minimum.at(flat, base[start : start + len(part)] + (part >> shift_bits), part)


def sketches(minima: np.ndarray) -> np.ndarray:
    """What `similarity` compares: 1 to 65,535 for the content of each bin, 0 for an empty one; uint16, same shape.

    Two different contents look the same once in 65,535 times (b-bit MinHash: Li and Koenig, WWW 2010; b = 16).
    """
    found = (minima % np.uint32(65_535)).astype(np.uint16) + np.uint16(1)
    found[minima == EMPTY] = 0
    return found


def similarity(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Estimated Jaccard similarity [pairs] float64 of the n-gram sets behind sketches a, b [pairs, num_hashes] uint16.

    Its standard deviation is at most sqrt(J (1 - J) / bins that either fills): 0.035 at J = 0.8 with 128 full bins.
    """
    filled = np.count_nonzero(a | b, axis=1)
    equal = np.count_nonzero((a == b) & (a != 0), axis=1)
    return equal / np.maximum(filled, 1)


def band_keys(minima: np.ndarray, bands: int, rows: int) -> np.ndarray:
    """A key of each band of `rows` bins, [bands, texts] uint32: two texts alike in a whole band have the same key."""
    dense = densified(minima)[:, : bands * rows]
    dense *= _random_words(bands * rows, seed=2) | np.uint32(1)
    keys = dense.reshape(len(dense), bands, rows).sum(axis=2, dtype=np.uint32).T.copy()
    _mix(keys)
    return keys


def densified(minima: np.ndarray) -> np.ndarray:
    """A copy in which each empty bin holds what a random full bin of the same text holds.

    Which bins it asks, in turn, depends on the bin alone, so that two texts with the same full bins borrow alike.
    """
    num_hashes = minima.shape[1]
    dense = minima.copy()
    text, place = np.nonzero(minima == EMPTY)
    donors = (_random_words(ATTEMPTS * num_hashes, seed=3) % np.uint32(num_hashes)).reshape(ATTEMPTS, num_hashes)
    for attempt in range(ATTEMPTS + num_hashes):
        if not len(text):
            break
        donor = donors[attempt][place] if attempt < ATTEMPTS else (place + attempt - ATTEMPTS + 1) % num_hashes
        found = minima[text, donor]
        full = found != EMPTY
        dense[text[full], place[full]] = found[full]
        text, place = text[~full], place[~full]
    return dense


@cache
def bands_and_rows(threshold: float, num_hashes: int, *, missed_weight: float = 0.95) -> tuple[int, int]:
    """(bands, rows a band) for which a pair of similarity s meets in some band, 1 - (1 - s^rows)^bands, as wanted.

    Least weighted sum of the areas of that curve below the threshold (pairs looked at for nothing) and above it (pairs
    missed), as datasketch's MinHashLSH does with equal weights (Zhu et al., VLDB 2016). Ours compares each pair again,
    so a miss weighs 19 times more: for 0.8 and 128, 16 x 8 (95 % of pairs at 0.8 meet); datasketch has 9 x 13 (40 %).
    """
    s = (np.arange(1000) + 0.5) / 1000
    best = (np.inf, 1, 1)
    for bands in range(1, num_hashes + 1):
        for rows in range(1, num_hashes // bands + 1):
            meet = 1 - (1 - s**rows) ** bands
            loss = (1 - missed_weight) * meet[s < threshold].sum() + missed_weight * (1 - meet[s >= threshold]).sum()
            best = min(best, (float(loss), bands, rows))
    return best[1:]


def _mix(words: np.ndarray) -> None:
    """MurmurHash3's 32-bit finaliser, in place."""
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        words ^= words >> np.uint32(shift)
        words *= np.uint32(factor)
    words ^= words >> np.uint32(16)


def _random_words(count: int, *, seed: int) -> np.ndarray:
    """Fixed random uint32 [count], the same on every platform and numpy release (raw PCG64, NEP 19)."""
    return (np.random.PCG64(seed).random_raw(count) >> np.uint64(32)).astype(np.uint32)
