"""How much unseen text of a protected language will change: a leave-one-out estimate, and the measured share.

Protected text does not change, so it cannot show what happens to text that was not given. But each pair that was
refused and stands in one document alone would have been merged without that document, and would then have changed it.
The share of such documents is what an unseen document of the same kind risks (leave one out, to the first order: the
merges that would have been built on it are not counted; compare Good 1953 on species seen once).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from seatools.text.tokenizer import Tokenizer
from seatools.vocab_extend.batches import batches
from seatools.vocab_extend.corpus import Words
from seatools.vocab_extend.word_counts import WordCounts


@dataclass(frozen=True)
class Drift:
    """One language's text under two tokenizers."""

    num_docs: int
    changed: int
    """Documents whose encoding is another one."""
    num_bytes: int
    base_tokens: int
    new_tokens: int


def expected_drift(words: Words, counted: WordCounts, refused: Collection[tuple[int, int]]) -> float:
    """The share of unseen documents that will change, by the protected ones. `refused`: pairs of base ids."""
    if not counted.num_docs or not refused:
        return 0.0
    ids = words.symbols.ids.astype(np.int64)
    owners = words.symbols.owners()
    keys = ids[:-1] << 32 | ids[1:]
    wanted = np.unique(np.array([left << 32 | right for left, right in refused], np.int64))
    at = np.minimum(np.searchsorted(wanted, keys), len(wanted) - 1)
    hits = np.flatnonzero((wanted[at] == keys) & (owners[:-1] == owners[1:]) & (ids[:-1] >= 0) & (ids[1:] >= 0))
    homes: dict[int, str | None] = {}
    for key, word in zip(keys[hits].tolist(), owners[hits].tolist(), strict=True):
        home = counted.only.get(words.texts[word])  # None: the word is in several documents
        homes[key] = home if homes.get(key, home) == home else None
    return len({home for home in homes.values() if home is not None}) / counted.num_docs


def measured_drift(base: Tokenizer, extended: Tokenizer, documents: Sequence[str], workers: int = 0) -> Drift:
    """Both encodings of `documents`."""
    changed = before = after = size = 0
    for batch in batches(documents):
        old, new = base.encode_batch(batch, workers=workers), extended.encode_batch(batch, workers=workers)
        changed += sum(one != two for one, two in zip(old, new, strict=True))
        before += sum(map(len, old))
        after += sum(map(len, new))
        size += sum(len(text.encode()) for text in batch)
    return Drift(len(documents), changed, size, before, after)


def changes_of_cutting(
    base: Tokenizer, changed: Tokenizer, samples: Mapping[str, Sequence[str]], workers: int = 0
) -> dict[str, Drift]:
    """What another pre-tokenizer alone does to each language's sample, line by line."""
    return {
        lang: measured_drift(base, changed, [line for text in texts for line in text.split("\n") if line], workers)
        for lang, texts in samples.items()
    }
