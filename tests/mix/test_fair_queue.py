"""The ratio holds at every point, to one document of each source; and the merge gives what a heap gives."""

from __future__ import annotations

import heapq
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatools.mix import fair_queue as module
from seatools.mix.fair_queue import fair_queue

SIZES = st.lists(st.integers(1, 1000), min_size=1, max_size=15)
WEIGHTS = st.fractions(min_value=Fraction(1, 1000), max_value=1000)
SOURCES = st.lists(st.tuples(SIZES, WEIGHTS), min_size=1, max_size=4)

# What a merge could get wrong: equal clocks, documents of no unit, weights of 0, weights without a small multiple.
TIED = st.lists(st.integers(0, 3), min_size=0, max_size=60)
PRIMES = st.sampled_from([Fraction(p, 999_983) for p in (1, 2, 104_729, 611_953, 15_485_863, 32_452_843, 49_979_687)])
HARD_WEIGHTS = st.one_of(st.integers(0, 3).map(Fraction), PRIMES, st.fractions(min_value=Fraction(1, 10**9)))
HARD = st.lists(
    st.tuples(TIED | st.lists(st.integers(0, 2**32 - 1), max_size=60), HARD_WEIGHTS), min_size=1, max_size=7
)


def run(sources, budget=None, on_exhaust="stop", observe=None):
    arrays = [np.array(sizes, dtype=np.int64) for sizes, _ in sources]
    return fair_queue(
        [lambda start, stop, sizes=sizes: sizes[start:stop] for sizes in arrays],
        [len(sizes) for sizes in arrays],
        [weight for _, weight in sources],
        budget=budget,
        on_exhaust=on_exhaust,
        observe=observe,
    )


def queue_by_heap(units, weights, *, budget, on_exhaust):
    """The fair queue as it is defined, a document at a time: (order, emitted, exhausted)."""
    queue = [(Fraction(0), source) for source, weight in enumerate(weights) if weight]
    left = [iter(sizes) for sizes in units]
    order, emitted, exhausted, total = [], [0] * len(weights), [], 0
    while queue and (budget is None or total < budget):
        clock, source = queue[0]
        size = next(left[source], None)
        if size is None:
            exhausted.append(source)
            if on_exhaust != "renormalize":
                break
            heapq.heappop(queue)
            continue
        order.append(source)
        emitted[source] += size
        total += size
        heapq.heapreplace(queue, (clock + size / weights[source], source))
    return order, emitted, exhausted


@given(HARD, st.none() | st.integers(1, 2**34), st.sampled_from(["stop", "renormalize"]), st.integers(1, 9))
def test_the_merge_gives_the_order_of_the_heap(sources, budget, on_exhaust, depth):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SLICE", depth * len(sources))  # many slices, so that their seams are met
        patch.setattr(module, "MIN_SLICE", 1)
        schedule = run(sources, budget, on_exhaust)
    order, emitted, exhausted = queue_by_heap(
        [sizes for sizes, _ in sources], [weight for _, weight in sources], budget=budget, on_exhaust=on_exhaust
    )
    assert (schedule.order.tolist(), schedule.emitted, schedule.exhausted) == (order, emitted, exhausted)
    assert schedule.order.dtype == np.uint16


def test_clocks_beyond_int64_are_compared_exactly(monkeypatch):
    # Weights of 9 digits without a common factor: their common multiple is of 2^150, so clocks are float64 and ties
    # must be told from near ties; a and c have the same weight and sizes, so they tie at every document.
    weights = [Fraction(w) for w in (999_999_937, 982_451_653, 999_999_937, 961_748_941, 899_809_363)]
    numbers = np.random.default_rng(0)
    sizes = [numbers.integers(1, 4, 3000).tolist() for _ in weights]
    sizes[2] = sizes[0]
    called = []
    real = module._argsort_large
    monkeypatch.setattr(module, "_argsort_large", lambda slices: called.append(1) or real(slices))
    monkeypatch.setattr(module, "SLICE", 500)
    monkeypatch.setattr(module, "MIN_SLICE", 100)
    schedule = run(list(zip(sizes, weights, strict=True)), on_exhaust="renormalize")
    order, emitted, exhausted = queue_by_heap(sizes, weights, budget=None, on_exhaust="renormalize")
    assert called and schedule.order.tolist() == order
    assert (schedule.emitted, schedule.exhausted) == (emitted, exhausted)


@given(SOURCES)
def test_at_every_prefix_no_source_leads_another_by_more_than_one_document(sources):
    schedule = run(sources)
    emitted, taken = [0] * len(sources), [0] * len(sources)
    for source in schedule.order.tolist():
        emitted[source] += sources[source][0][taken[source]]
        taken[source] += 1
        served = [total / weight for total, (_, weight) in zip(emitted, sources, strict=True)]
        for i, (sizes, weight) in enumerate(sources):
            assert all(served[i] - other <= max(sizes) / weight for other in served)


@given(SOURCES, st.integers(1, 5000))
def test_the_budget_is_reached_by_the_last_document_and_not_before(sources, budget):
    schedule = run(sources, budget, "renormalize")
    in_all = sum(sum(sizes) for sizes, _ in sources)
    if budget > in_all:
        assert schedule.total == in_all
        return
    last = int(schedule.order[-1])
    last_size = sources[last][0][schedule.order.tolist().count(last) - 1]
    assert schedule.total - last_size < budget <= schedule.total


@given(SOURCES)
def test_renormalize_without_a_budget_emits_every_document_once(sources):
    schedule = run(sources, on_exhaust="renormalize")
    assert [schedule.order.tolist().count(i) for i in range(len(sources))] == [len(sizes) for sizes, _ in sources]
    assert sorted(schedule.exhausted) == list(range(len(sources)))


@given(SOURCES)
def test_stop_ends_when_the_source_whose_turn_it_is_has_nothing_left(sources):
    schedule = run(sources)
    (ended,) = schedule.exhausted
    assert schedule.emitted[ended] == sum(sources[ended][0])
    served = [total / weight for total, (_, weight) in zip(schedule.emitted, sources, strict=True)]
    assert served[ended] == min(served)


@given(SOURCES, st.none() | st.integers(1, 5000))
def test_the_observer_is_told_of_every_document(sources, budget):
    told = []
    schedule = run(
        sources, budget, observe=lambda of, units: told.extend(zip(of.tolist(), units.tolist(), strict=True))
    )
    assert [source for source, _ in told] == schedule.order.tolist()
    assert sum(units for _, units in told) == schedule.total


def test_ties_go_to_the_source_named_first():
    assert run([([1, 1], Fraction(1)), ([1, 1], Fraction(1))]).order.tolist() == [0, 1, 0, 1]


def test_one_to_three_by_hand():
    # Clocks of a (weight 1, documents of 2) and b (weight 3, documents of 3): a 0, b 0, b 1, then a 2 ties with b 2.
    schedule = run([([2] * 3, Fraction(1)), ([3] * 9, Fraction(3))])
    assert "".join("ab"[i] for i in schedule.order) == "abbabbabb"
    assert schedule.emitted == [6, 18]


def test_decimal_weights_are_exact():
    # In floating point 0.1 + 0.2 leads 0.3, and the ties would fall otherwise.
    sources = [([1] * 30, Fraction("0.1")), ([1] * 60, Fraction("0.2"))]
    assert run(sources).emitted == run([([1] * 30, Fraction(1)), ([1] * 60, Fraction(2))]).emitted == [30, 60]
