"""Magnitude x share against loops over neurons."""

from __future__ import annotations

import math

import numpy as np
import pytest
from made_up_statistics import documents, language, llama_places, metadata

from seatools.lsn_detect.magnitude import select
from seatools.lsn_detect.ranking import best
from seatools.lsn_detect.stacked import Stacked
from seatools.lsn_detect.table import StatsTable

PLACES = llama_places(layers=2, ffn=12, hidden=8, kv=4, parts="fv")
CORPORA = {lang: documents(PLACES, number, seed) for seed, (lang, number) in enumerate(dict(a=4, b=9, c=6).items())}


def stacked(corpora=CORPORA, parts=("ffn", "v")):
    langs = {lang: language(docs, PLACES) for lang, docs in corpora.items()}
    return Stacked(StatsTable(langs, PLACES, metadata()), parts)


@pytest.mark.parametrize("method", ["magnitude", "taylor"])
def test_scores_are_share_times_importance_over_the_mean_of_the_layer(method):
    stats = stacked()
    chosen, scores = select(stats, method, 7)
    importance = {}
    for lang, docs in CORPORA.items():
        tokens = sum(doc.tokens for doc in docs)
        for place in PLACES:
            for i in range(place.size):
                if method == "magnitude":
                    value = math.sqrt(sum(doc.importance[place.key][i] ** 2 for doc in docs) / tokens)
                else:
                    value = sum(doc.taylor[place.key][i] for doc in docs) / tokens
                importance[lang, place.key, i] = value
    for row, lang in enumerate("abc"):
        found = {}
        for place in PLACES:
            mean = np.mean([importance[other, place.key, i] for other in "abc" for i in range(place.size)])
            for i in range(place.size):
                share = importance[lang, place.key, i] / sum(importance[other, place.key, i] for other in "abc")
                found[place.key, i] = share * importance[lang, place.key, i] / mean
                assert stats.split(scores[row])[place.key][i] == pytest.approx(found[place.key, i], rel=1e-12)
        wanted = set(sorted(found, key=lambda neuron: -found[neuron])[:7])
        assert {(key, int(i)) for key, m in stats.split(chosen[row]).items() for i in np.flatnonzero(m)} == wanted


def test_more_text_of_the_same_kind_changes_nothing():
    """Languages with more tokens weigh the same."""
    doubled = CORPORA | {"b": CORPORA["b"] + [doc._replace(number=doc.number + 100) for doc in CORPORA["b"]]}
    for method in ("magnitude", "taylor"):
        np.testing.assert_allclose(select(stacked(), method, 5)[1], select(stacked(doubled), method, 5)[1], rtol=1e-12)


def test_a_neuron_dead_everywhere_is_never_chosen():
    dead = {key: np.zeros_like(value) for key, value in CORPORA["a"][0].importance.items()}
    dead[0, "ffn"][3] = 1.0
    corpora = {lang: [doc._replace(importance=dead) for doc in docs] for lang, docs in CORPORA.items()}
    chosen, scores = select(stacked(corpora), "magnitude", 5)
    assert chosen.sum(1).tolist() == [1, 1, 1]
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("seed", range(5))
def test_best_is_the_first_of_a_stable_sort(seed):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 6, 40).astype(float)
    scores[rng.integers(0, 40, 8)] = -np.inf
    for num in (0, 1, 5, 20, 40, 50):
        order = [i for i in np.argsort(-scores, kind="stable") if scores[i] > -np.inf]
        assert np.flatnonzero(best(scores, num)).tolist() == sorted(order[:num])
