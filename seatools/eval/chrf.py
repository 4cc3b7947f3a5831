"""chrF and chrF++ through sacrebleu, with an error bar.

Both sides are put into NFC and freed of U+200B first: a perfect Vietnamese output in NFD scores 35 (research A3.3),
and Khmer references hold zero-width spaces. chrF (word order 0) is the figure to compare in scripts without spaces;
chrF++ (word order 2) punishes spaces there. The bootstrap draws sentences 1,000 times from their n-gram counts, which
are extracted once: a tenth of a second, where scoring 1,000 corpora again would take minutes (A3.4).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 1000
WORD_ORDERS = {"chrf": 0, "chrf++": 2}


@dataclass(frozen=True)
class ChrF:
    """A corpus score, 0 to 100; `stderr` is None for one sentence; sacrebleu's signature."""

    value: float
    stderr: float | None
    signature: str


def normalised(text: str) -> str:
    """NFC, without zero-width spaces."""
    return unicodedata.normalize("NFC", text.replace("\u200b", ""))


def corpus_chrf(hypotheses: Sequence[str], references: Sequence[str], *, word_order: int, seed: int) -> ChrF:
    """Corpus chrF of `hypotheses` against one reference each, character order 6, beta 2."""
    from sacrebleu.metrics.chrf import CHRF

    metric = CHRF(char_order=6, word_order=word_order)
    ours, theirs = [normalised(text) for text in hypotheses], [normalised(text) for text in references]
    score = metric.corpus_score(ours, [theirs])
    value, signature = score.score, f"{score.name}|{metric.get_signature()}|norm:NFC-no200B"
    if len(ours) < 2:
        return ChrF(value, None, signature)
    # The counts behind the score, [sentences, (hypothesis, reference, match) x orders]: what sacrebleu's own
    # significance tests resample.
    counts = np.array(metric._extract_corpus_statistics(ours, [theirs]), dtype=np.int64)
    chances = np.full(len(ours), 1 / len(ours))
    draws = np.random.default_rng(seed).multinomial(len(ours), chances, size=RESAMPLES)
    resampled = [metric._compute_score_from_stats(row).score for row in (draws @ counts).tolist()]
    return ChrF(value, float(np.std(resampled, ddof=1)), signature)
