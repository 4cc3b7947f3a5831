"""chrF and chrF++ through sacrebleu, with an error bar.

Both sides are put into NFC and freed of U+200B first: a perfect Vietnamese output in NFD scores 35 (research A3.3),
and Khmer references hold zero-width spaces. chrF (word order 0) is the figure to compare in scripts without spaces;
chrF++ (word order 2) punishes spaces there. A sentence's n-gram counts are extracted once, by sacrebleu; the corpus
score is a function of their sums (`figures.py`), in sacrebleu's own order of operations: the same to the bit.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from seatools.eval.figures import Figure

CHAR_ORDER = 6
_FACTOR = 4  # beta 2, squared
WORD_ORDERS = {"chrf": 0, "chrf++": 2}


def normalised(text: str) -> str:
    """NFC, without zero-width spaces."""
    return unicodedata.normalize("NFC", text.replace("\u200b", ""))


@lru_cache
def _metric(word_order: int) -> Any:
    from sacrebleu.metrics.chrf import CHRF

    return CHRF(char_order=CHAR_ORDER, word_order=word_order)


def sentence_counts(hypothesis: str, references: Sequence[str], word_order: int) -> list[int]:
    """(hypothesis, reference, match) n-grams of each order, flat; of several references those of the best one."""
    metric = _metric(word_order)
    theirs = [[normalised(reference)] for reference in references]
    return [int(count) for count in metric._extract_corpus_statistics([normalised(hypothesis)], theirs)[0]]


def chrf_values(sums: np.ndarray) -> np.ndarray:
    """sums of `sentence_counts` [..., 3 * orders] -> corpus chrF [...], sacrebleu's `_compute_f_score`."""
    counts = sums.reshape(*sums.shape[:-1], -1, 3).astype(np.float64)
    precision = np.zeros(counts.shape[:-2])
    recall, orders = precision.copy(), precision.copy()
    for order in range(counts.shape[-2]):
        ours, theirs, match = counts[..., order, 0], counts[..., order, 1], counts[..., order, 2]
        there = (ours > 0) & (theirs > 0)
        precision += np.where(there, match / np.where(there, ours, 1), 0.0)
        recall += np.where(there, match / np.where(there, theirs, 1), 0.0)
        orders += there
    precision, recall = precision / np.maximum(orders, 1), recall / np.maximum(orders, 1)
    some = precision + recall > 0
    score = (1 + _FACTOR) * precision * recall
    return np.where(some, 100 * (score / np.where(some, _FACTOR * precision + recall, 1)), 0.0)


def chrf_figure(metric: str) -> Figure:
    """`chrf` or `chrf++` from rows of `sentence_counts`."""
    return Figure(metric, chrf_values)


def chrf_signature(word_order: int, num_references: int = 1) -> str:
    """sacrebleu's signature and our normalisation."""
    metric = _metric(word_order)
    metric.num_refs = num_references
    name = f"chrF2{'+' * word_order}"
    return f"{name}|{metric.get_signature()}|norm:NFC-no200B"
