"""A figure is a function of sums over items: mean, ratio of sums, macro F1, chrF. Each item gives a row of numbers.

This is what makes one bootstrap serve them all: a resample of items is a weighted sum of rows, so 1,000 resamples are
one matrix product and no metric is computed again from texts (research A3.4: 0.2 s for 19 minutes). Means and ratios
have their standard error in closed form. Sums that end in a result are exact (`math.fsum`), so order changes no bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Figure:
    """A metric: its value from sums of per-item rows."""

    metric: str
    value: Callable[[np.ndarray], np.ndarray]
    """sums [..., k] float64 -> [...] float64."""
    is_ratio: bool = False
    """The value is sums[0] / sums[1]: a mean where the second is 1. It has a standard error in closed form."""
    is_flag: bool = False
    """A mean of 0 and 1: two models are compared by McNemar's test."""
    higher_is_better: bool = True


def _ratio(sums: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(sums[..., 1] != 0, sums[..., 0] / sums[..., 1], np.nan)


def mean(metric: str, *, is_flag: bool = False, higher_is_better: bool = True) -> Figure:
    """The mean of the items' values; rows are [value, 1]."""
    return Figure(metric, _ratio, is_ratio=True, is_flag=is_flag, higher_is_better=higher_is_better)


def ratio(metric: str, *, higher_is_better: bool = True) -> Figure:
    """A ratio of two sums; rows are [numerator, denominator]."""
    return Figure(metric, _ratio, is_ratio=True, higher_is_better=higher_is_better)


def _f_scores(counts: np.ndarray) -> np.ndarray:
    """[..., classes, (hits, misses, false alarms)] -> F1 [..., classes]; NaN for a class that is nowhere."""
    doubled = 2 * counts[..., 0]
    below = doubled + counts[..., 1] + counts[..., 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(below > 0, doubled / below, np.nan)


def _macro_f1(sums: np.ndarray) -> np.ndarray:
    scores = _f_scores(sums.reshape(*sums.shape[:-1], -1, 3))
    there = ~np.isnan(scores)
    return np.where(there, scores, 0.0).sum(-1) / np.maximum(there.sum(-1), 1)


def macro_f1(metric: str = "macro_f1") -> Figure:
    """Mean F1 of the classes that are the truth or the answer of some item; rows from `class_row`."""
    return Figure(metric, _macro_f1)


def class_row(gold: int, found: int | None, num_classes: int) -> list[float]:
    """One item of `macro_f1`: [classes x (hit, miss, false alarm)]; `found` is None for no answer."""
    row = [0.0] * (3 * num_classes)
    if found == gold:
        row[3 * gold] = 1.0
    else:
        row[3 * gold + 1] = 1.0
        if found is not None:
            row[3 * found + 2] = 1.0
    return row


def _no_nan(values: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(values), 0.0, values)


def f1(metric: str = "f1") -> Figure:
    """F1 of one positive class; rows from `positive_row`. 0 where nothing is positive, as in scikit-learn."""
    return Figure(metric, lambda sums: _no_nan(_f_scores(sums[..., None, :3])[..., 0]))


def precision(metric: str = "precision") -> Figure:
    """Hits of all alarms; rows from `positive_row`."""
    return Figure(metric, lambda sums: _no_nan(_ratio(np.stack([sums[..., 0], sums[..., 0] + sums[..., 2]], -1))))


def recall(metric: str = "recall") -> Figure:
    """Hits of all that are positive; rows from `positive_row`."""
    return Figure(metric, lambda sums: _no_nan(_ratio(np.stack([sums[..., 0], sums[..., 0] + sums[..., 1]], -1))))


def positive_row(gold: bool, found: bool) -> list[float]:
    """One item of `f1`, `precision`, `recall`: [hit, miss, false alarm]."""
    return [float(gold and found), float(gold and not found), float(found and not gold)]


def exact_sums(rows: np.ndarray) -> np.ndarray:
    """[items, k] -> [k], each the correctly rounded sum, whatever the order."""
    return np.array([math.fsum(column) for column in rows.T.tolist()])


def ratio_stderr(numerators: np.ndarray, denominators: np.ndarray) -> float | None:
    """Standard error of sum(numerators) / sum(denominators) over items [n], by linearisation; None for one item.

    Variance of r: n/(n-1) * sum (a_i - r b_i)^2 / (sum b)^2 (Cochran 1977, 6.4). With denominators of 1 this is the
    standard error of a mean, and of a share p: sqrt(p (1 - p) / (n - 1)).
    """
    n, below = len(numerators), math.fsum(denominators.tolist())
    if n < 2 or below == 0:
        return None
    value = math.fsum(numerators.tolist()) / below
    return math.sqrt(n / (n - 1) * math.fsum(np.square(numerators - value * denominators).tolist())) / abs(below)
