"""Intervals of bits per byte and what is made of them: texts drawn again, the same under every change of the model.

Bits per byte are a ratio of sums over texts, drawn again by engine/resampled_sums.py. Since each run is scored on the
same draw, differences are paired; on parallel text the languages draw the same lines too. Row 0 of every array of
samples is the data as they are. Percentile intervals: Efron and Tibshirani 1993, 13.3.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from seatools.engine.resampled_sums import resampled_sums, seeded_words

LEVEL = 0.95


class Estimate(NamedTuple):
    """A figure of the data, and the ends of its interval."""

    value: float
    low: float
    high: float


def estimate(samples: np.ndarray) -> Estimate:
    """[1 + resamples], the data first -> their value and the percentile interval, ends taken symmetrically.

    The ends are samples, not points between two of them, so infinite ones are no trouble.
    """
    ordered = np.sort(samples[1:])
    rank = max(1, math.floor((len(ordered) + 1) * (1 - LEVEL) / 2))
    return Estimate(float(samples[0]), float(ordered[rank - 1]), float(ordered[len(ordered) - rank]))


def bits_per_byte_samples(nats: np.ndarray, num_bytes: np.ndarray, *, resamples: int, seed: str) -> np.ndarray:
    """`nats` [runs, texts], `num_bytes` [texts] -> bits per byte [1 + resamples, runs] float64.

    One `seed` draws the same places of any array of as many texts: so pairs are kept.
    """
    columns = np.concatenate([num_bytes[None], nats / math.log(2)]).astype(np.float64).T
    sums = np.concatenate([columns.sum(0)[None], resampled_sums(columns, resamples=resamples, seed=seed)])
    return sums[:, 1:] / sums[:, :1]


def beyond_control(own: np.ndarray, control: np.ndarray, *, seed: str) -> np.ndarray:
    """How far `own` [1 + resamples] is beyond another draw like those of `control` [1 + resamples, draws].

    The mean over the draws is taken off, and Student's prediction error of one more draw, s sqrt(1 + 1 / draws) t with
    draws - 1 degrees of freedom, so that of sets that are random themselves one in forty is beyond, however few the
    draws. (Drawing the draws again does not give that: of three, one set in four is above all.) Of a single draw
    nothing is known about others, and its difference is all there is.
    """
    draws = control.shape[1]
    difference = own - control.mean(1)
    if draws > 1:
        normal = _normals(seeded_words(seed), (len(own) - 1, draws))
        student = normal[:, 0] / np.sqrt(np.square(normal[:, 1:]).mean(1))
        difference[1:] -= math.sqrt(1 + 1 / draws) * student * control[1:].std(1, ddof=1)
    return difference


def selectivity(own: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Change of the own language over the mean of the others', elementwise; gains count as no harm.

    inf where the own language is harmed and the others are not, 0 where it is not harmed itself.
    """
    own, others = np.maximum(own, 0.0), np.maximum(others, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(own > 0, own / others, 0.0)


def _normals(words: Any, shape: tuple[int, int]) -> np.ndarray:
    """Normal deviates float64, by Box and Muller."""
    raw = words.random_raw(2 * shape[0] * shape[1]).reshape(2, *shape) >> np.uint64(11)
    first, second = (raw + 1.0) / (1 << 53)
    return np.sqrt(-2 * np.log(first)) * np.cos(2 * math.pi * second)
