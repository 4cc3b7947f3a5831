"""How often each character occurs in a text: by sorting, which for long texts is faster than `Counter`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

_LONG = 1000  # characters from which numpy's overhead is less than it saves


def character_counts(text: str) -> Mapping[str, int]:
    """Character -> occurrences, of those that occur."""
    if len(text) < _LONG:
        return Counter(text)
    codes, counts = np.unique(np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32), return_counts=True)
    return dict(zip(map(chr, codes.tolist()), counts.tolist(), strict=True))
