"""Between chosen neurons per place and the weights of a neuron file, in both directions, for fused weights too.

A neuron is written in every weight that has a row or column of it: an FFN neuron as the row of gate_proj, the row of
up_proj and the column of down_proj. Each alone switches it off, together they are what training it trains. (PLND's
code trains up and down only; its importance is the same for all three.) In a fused weight the neurons of several
places lie side by side; `WeightView.physical` knows where.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from seatools.engine.neuron_layout import Place
from seatools.engine.neurons import Neurons

Key = tuple[int, str]  # (layer, part), as Place.key


class Chosen(NamedTuple):
    """Of one place: which neurons, bool [n], and the score of every one, float32 [n]."""

    mask: np.ndarray
    scores: np.ndarray


def as_weights(places: Iterable[Place], chosen: Mapping[Key, Chosen]) -> dict[str, Neurons]:
    """Weight name -> its neurons, int32 ascending, with their scores float32; weights without any are left out.

    `chosen` of one language; every key of it is that of one of `places`.
    """
    pieces: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for place in places:
        if place.key not in chosen:
            continue
        mask, scores = chosen[place.key]
        index = np.flatnonzero(mask)
        if len(index):
            for view in place.views:
                pieces.setdefault(view.name, []).append((view.physical(index), scores[index]))
    weights = {}
    for name, parts in pieces.items():
        index, scores = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.argsort(index, kind="stable")
        weights[name] = Neurons(index[order].astype(np.int32), scores[order].astype(np.float32))
    return weights


def as_chosen(places: Iterable[Place], weights: Mapping[str, Neurons]) -> tuple[dict[Key, Chosen], dict[Key, int]]:
    """The inverse: the neurons that any weight of a place names, and how many of them not all of its weights name.

    The score is that in the first of its weights that names the neuron; places without neurons are left out.
    """
    chosen: dict[Key, Chosen] = {}
    partly: dict[Key, int] = {}
    for place in places:
        named = np.zeros(place.size, dtype=np.int64)
        scores = np.zeros(place.size, dtype=np.float32)
        for view in reversed(place.views):  # the first one's scores stay
            if view.name in weights:
                physical, theirs = weights[view.name]
                index = view.neurons(physical, place.size)
                named[index[index >= 0]] += 1
                scores[index[index >= 0]] = theirs[index >= 0]
        if named.any():
            chosen[place.key] = Chosen(named > 0, scores)
            num_partly = int(((named > 0) & (named < len(place.views))).sum())
            if num_partly:
                partly[place.key] = num_partly
    return chosen, partly
