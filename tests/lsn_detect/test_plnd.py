"""PLND's selection against python sets of documents, as the paper and the released code have it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_statistics import THRESHOLDS, TOP_K, Document, documents, language, llama_places, metadata, table

from seatools.lsn_detect.plnd import core_of, firmest, in_language, select
from seatools.lsn_detect.stacked import Stacked
from seatools.lsn_detect.table import Key, StatsTable
from seatools.streams.errors import UsageError

PLACES = llama_places(layers=1, ffn=15, hidden=8, kv=4)
Neuron = tuple[Key, int]


def in_document(doc: Document, top_k: float | None, threshold: float | None) -> set[Neuron]:
    """The neurons that count in a document: of each layer and matrix those of at least eps, or the top k."""
    found: set[Neuron] = set()
    for key, importance in doc.importance.items():
        if threshold is not None:
            found |= {(key, i) for i, mine in enumerate(importance) if mine >= threshold}
        else:
            num = max(1, round(top_k * len(importance)))
            last = sorted(importance, reverse=True)[num - 1]
            found |= {(key, i) for i, mine in enumerate(importance) if mine >= last and mine > 0}
    return found


def by_sets(
    corpora: dict[str, list[Document]], top_k: float | None, threshold: float | None, min_docs: float, core: int
) -> tuple[dict[str, set[Neuron]], int]:
    """lang -> neurons, by counting documents in python sets; those of `core` languages or more taken away."""
    own = {}
    for lang, docs in corpora.items():
        found = [in_document(doc, top_k, threshold) for doc in docs]
        everywhere = set.union(*found)
        needed = math.ceil(min_docs * len(docs) - 1e-9)
        own[lang] = {neuron for neuron in everywhere if sum(neuron in one for one in found) >= needed}
        if min_docs == 1:
            assert own[lang] == set.intersection(*found)
    shared = {n for n in set.union(*own.values()) if sum(n in mine for mine in own.values()) >= core}
    return {lang: mine - shared for lang, mine in own.items()}, len(shared)


def stacked(corpora: dict[str, list[Document]], half: int | None = None) -> Stacked:
    langs = {lang: language(docs, PLACES) for lang, docs in corpora.items()}
    return Stacked(StatsTable(langs, PLACES, metadata()), ("ffn", "q", "k", "v"), half)


def as_sets(stats: Stacked, chosen: np.ndarray) -> dict[str, set[Neuron]]:
    return {
        lang: {(key, int(i)) for key, mask in stats.split(row).items() for i in np.flatnonzero(mask)}
        for lang, row in zip(stats.langs, chosen, strict=True)
    }


RULES = [
    *[dict(top_k=share, threshold=None, min_docs=1.0) for share in (0.05, 0.25, 0.4, 0.77, 1.0)],
    *[dict(top_k=None, threshold=eps, min_docs=1.0) for eps in (0.3, 1.0, 2.0)],
    *[dict(top_k=share, threshold=None, min_docs=tau) for share in TOP_K for tau in (0.3, 0.7)],
    *[dict(top_k=None, threshold=eps, min_docs=tau) for eps in THRESHOLDS for tau in (0.3, 0.7)],
]


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("ties", [False, True])
def test_selection_is_that_of_sets_of_documents(rule, ties):
    num_found = 0
    for seed in range(3):
        corpora = {lang: documents(PLACES, 2 + 2 * at, 10 * seed + at, ties) for at, lang in enumerate("abc")}
        stats = stacked(corpora)
        for core, number in (("all", 3), (2, 2)):
            chosen, importance, facts = select(stats, **rule, core=core)
            expected, num_core = by_sets(corpora, **rule, core=number)
            assert as_sets(stats, chosen) == expected
            assert facts == {"core": num_core}
            num_found += num_core + sum(map(len, expected.values()))
        of_a = {
            key: np.mean([doc.importance[key] for doc in corpora["a"]], axis=0) for key in corpora["a"][0].importance
        }
        for key, mean in stats.split(importance[0]).items():
            np.testing.assert_allclose(mean, of_a[key], rtol=1e-12)
    assert num_found > 0


@pytest.mark.parametrize("half", [0, 1])
def test_a_half_is_a_run_over_its_documents(half):
    corpora = {lang: documents(PLACES, 8, seed) for seed, lang in enumerate("ab")}
    rule = dict(top_k=0.4, threshold=None, min_docs=1.0)
    stats = stacked(corpora, half)
    expected, _ = by_sets({lang: docs[half::2] for lang, docs in corpora.items()}, **rule, core=2)
    assert as_sets(stats, select(stats, **rule)[0]) == expected
    assert any(expected.values())


def test_a_half_without_documents_has_no_neurons():
    stats = stacked({"a": documents(PLACES, 1, 0), "b": documents(PLACES, 6, 1)}, half=1)
    for rule in RULES:
        assert not in_language(stats, **rule)[0][0].any()


@given(st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=2, max_size=4), st.integers(2, 4))
def test_core_is_what_so_many_languages_share(languages, core):
    chosen = np.array(languages)
    assert core_of(chosen, "all").tolist() == [all(column) for column in chosen.T]
    if core <= len(languages):
        assert core_of(chosen, core).tolist() == [sum(column) >= core for column in chosen.T.tolist()]
    else:
        with pytest.raises(UsageError, match=f"--core {core}: there are only {len(languages)} languages"):
            core_of(chosen, core)


def test_one_language_has_no_core():
    assert not core_of(np.ones((1, 4), dtype=bool), "all").any()


@pytest.mark.parametrize("rule", RULES[:2] + RULES[5:6] + RULES[8:9], ids=str)
def test_top_keeps_what_a_stricter_rule_would_keep(rule):
    stats = stacked({lang: documents(PLACES, 6, seed, ties=True) for seed, lang in enumerate("ab")})
    own, firmness = in_language(stats, **rule)
    own = own & ~core_of(own, "all")
    for top in (1, 3, 10_000):
        chosen = select(stats, **rule, top=top)[0]
        for row, mine in enumerate(chosen):
            assert mine.sum() == min(top, own[row].sum())
            assert not (mine & ~own[row]).any()
            left = firmness[row, own[row] & ~mine]
            assert len(left) == 0 or firmness[row, mine].min() >= left.max()


def test_equally_firm_neurons_go_by_relative_importance_then_by_position():
    chosen, firmness = np.array([[True, True, True, True, False]]), np.array([[2.0, 1.0, 1.0, 1.0, 9.0]])
    relative = np.array([[0.0, 1.0, 3.0, 1.0, 9.0]])
    taken = [np.flatnonzero(firmest(chosen, firmness, relative, top)[0]).tolist() for top in (1, 2, 3, 4)]
    assert taken == [[0], [0, 2], [0, 1, 2], [0, 1, 2, 3]]


@pytest.mark.parametrize(
    ("rule", "message", "fix"),
    [
        (dict(top_k=0.2, threshold=None), "--top-k 0.2 .* but for: 0.1, 0.25", "stats --top-k 0.2"),
        (dict(top_k=None, threshold=1.0), "--threshold 1 .* but for: 0.5, 2", "stats --threshold 1"),
    ],
)
def test_a_value_that_documents_were_not_counted_for_is_refused(rule, message, fix):
    stats = Stacked(table(), ("ffn",))
    with pytest.raises(UsageError, match=message) as error:
        select(stats, **rule, min_docs=0.9)
    assert fix in (error.value.fix or "")
