"""`document_scores` as a function of texts alone, which imports torch and opens the model when it is first called.

Cleaning reads for hours before it scores, and most of its runs never do; the tokenizer is given, so that a wrong path
is no surprise then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from seatools.engine.document_scores import TextEncoder


def deferred_scores(
    model: str | Path, tokenizer: TextEncoder, *, device: str = "auto", workers: int = 0, quiet: bool = False
) -> Callable[[Iterable[str]], np.ndarray]:
    """texts -> [texts] float32 bits per byte under `model`; parameters and errors are those of `score_documents`."""

    def score(texts: Iterable[str]) -> np.ndarray:
        from seatools.engine.document_scores import score_documents

        return score_documents(model, texts, tokenizer=tokenizer, device=device, workers=workers, quiet=quiet)

    return score
