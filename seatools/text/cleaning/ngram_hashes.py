"""A 64-bit hash of every n-gram of a text, for all positions at once: log2(n) multiplications and additions.

The polynomial sum c[i+j] * B^(n-1-j) modulo 2^64, built by doubling: that of 2k characters is that of the first k times
B^k plus that of the next k. The high bits mix well, so tables are looked up by those; two different n-grams of one text
of 100,000 characters share a hash with a chance of 3e-10.
"""

from __future__ import annotations

import numpy as np

_BASE = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


def ngram_hashes(codes: np.ndarray, n: int) -> np.ndarray:
    """[max(len(codes) - n + 1, 0)] uint64 of `codes` [units], any unsigned integers; the same n-gram, the same hash."""
    if len(codes) < n:
        return np.empty(0, np.uint64)
    power = codes.astype(np.uint64)
    power += np.uint64(1)
    power *= np.uint64(0xBF58476D1CE4E5B9)
    result, length, power_length = None, 0, 1
    while True:
        if n & power_length:
            if result is None:
                result = power
            else:
                result = result[: len(power) - length] * np.uint64(pow(_BASE, power_length, 1 << 64)) + power[length:]
            length += power_length
        if length == n:
            break
        shift = np.uint64(pow(_BASE, power_length, 1 << 64))
        power = power[:-power_length] * shift + power[power_length:]
        power_length *= 2
    assert result is not None
    mixed = result[: len(codes) - n + 1] ^ (result[: len(codes) - n + 1] >> np.uint64(32))
    mixed *= np.uint64(0xD6E8FEB86659FD93)
    return mixed ^ (mixed >> np.uint64(32))
