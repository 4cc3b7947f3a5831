"""PLND: neurons without which a layer gives something else, in every document of a language (arXiv 2402.18815).

Imp(N | c) = || layer without N - layer ||_2 on document c (eq. 1). Two rules for one document: Imp >= eps (the paper,
eq. 2; its eps is unpublished), or among the top k of the neuron's layer and matrix (the released code). A neuron is
the language's if that holds in a share tau of its documents, in all of them for tau = 1. Then only the smallest
importance and the worst rank matter, which the statistics hold, so any eps and any k can be asked for; for tau < 1
documents were counted for the values of a grid. The core, neurons that all languages (or N of them) have, is taken
away. The score that is stored is the mean importance over documents.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from seatools.lsn_detect.stacked import Stacked
from seatools.streams.errors import UsageError


def in_language(
    stats: Stacked, *, top_k: float | None, threshold: float | None, min_docs: float
) -> tuple[np.ndarray, np.ndarray]:
    """Which neurons each language has by the rule `top_k` or `threshold`, bool [L, neurons], before the core.

    Beside it, float64 of the same shape, how firmly: the higher, the stricter the rule under which it would still
    be one of them (the larger eps, the smaller k, or the more documents). UsageError, with what there is, for
    `min_docs` < 1 and a value that documents were not counted for.
    """
    if min_docs < 1:
        name, flag, grid, value = (
            ("selected", "--top-k", "top_k", top_k)
            if threshold is None
            else ("exceeding", "--threshold", "thresholds", threshold)
        )
        assert value is not None
        counts = stats.matrix(name, _position(value, stats.table.metadata["options"][grid], flag))
        needed = np.array([math.ceil(min_docs * num_docs - 1e-9) for num_docs in stats.docs.tolist()])
        return (counts >= needed[:, None]) & (counts > 0), counts / np.maximum(stats.docs, 1)[:, None]
    if threshold is not None:
        least = stats.matrix("least")
        return (least >= threshold) & (stats.docs > 0)[:, None], least
    assert top_k is not None
    worst_rank = stats.matrix("worst_rank")
    cut = np.array([max(1, round(top_k * size)) for size in stats.sizes.tolist()])
    # A neuron that changed nothing in some document has rank n + 1 there, past any cut.
    return (worst_rank <= stats.per_neuron(cut)) & (stats.docs > 0)[:, None], -worst_rank / stats.per_neuron(
        stats.sizes
    )


def _position(value: float, grid: Sequence[float], flag: str) -> int:
    found = [at for at, known in enumerate(grid) if math.isclose(known, value, rel_tol=1e-9)]
    if not found:
        counted = ", ".join(f"{known:g}" for known in grid) or "none"
        raise UsageError(
            f"{flag} {value:g} with --min-docs below 1: documents were not counted for it, but for: {counted}",
            fix=f"one of those, --min-docs 1, or `sea lsn-detect stats {flag} {value:g}`",
        )
    return found[0]


def core_of(chosen: np.ndarray, core: str | int) -> np.ndarray:
    """Bool [neurons]: those of `chosen` [L, neurons] in all languages ("all") or in so many; none of one language."""
    if len(chosen) < 2:
        return np.zeros(chosen.shape[1], dtype=bool)
    if core != "all" and int(core) > len(chosen):
        raise UsageError(f"--core {core}: there are only {len(chosen)} languages", fix="--core all")
    return chosen.sum(0) >= (len(chosen) if core == "all" else int(core))


def firmest(chosen: np.ndarray, firmness: np.ndarray, relative: np.ndarray, top: int) -> np.ndarray:
    """Of each language's `chosen` the `top` ones by `firmness`, equals by `relative` importance; all [L, neurons]."""
    taken = np.zeros_like(chosen)
    for row, mine in enumerate(chosen):
        index = np.flatnonzero(mine)
        order = np.lexsort((-relative[row, index], -firmness[row, index]))  # stable: then by position
        taken[row, index[order[:top]]] = True
    return taken


def select(
    stats: Stacked,
    *,
    top_k: float | None,
    threshold: float | None,
    min_docs: float = 1.0,
    core: str | int = "all",
    top: int | None = None,
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """(chosen bool [L, neurons], mean importance float64 [L, neurons], {"core": its size})."""
    chosen, firmness = in_language(stats, top_k=top_k, threshold=threshold, min_docs=min_docs)
    shared = core_of(chosen, core)
    chosen = chosen & ~shared
    importance = stats.matrix("importance") / np.maximum(stats.docs, 1)[:, None]
    if top is not None:
        means = stats.means(importance)
        chosen = firmest(chosen, firmness, importance / np.where(means > 0, means, 1), top)
    return chosen, importance, {"core": int(shared.sum())}
