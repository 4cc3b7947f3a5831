"""The ratio holds at every point, to one document of each source."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from seatools.mix.fair_queue import fair_queue

SIZES = st.lists(st.integers(1, 1000), min_size=1, max_size=40)
WEIGHTS = st.fractions(min_value=Fraction(1, 1000), max_value=1000)
SOURCES = st.lists(st.tuples(SIZES, WEIGHTS), min_size=1, max_size=5)


def run(sources, budget=None, on_exhaust="stop"):
    return fair_queue(
        [iter(sizes) for sizes, _ in sources], [weight for _, weight in sources], budget=budget, on_exhaust=on_exhaust
    )


@given(SOURCES)
def test_at_every_prefix_no_source_leads_another_by_more_than_one_document(sources):
    schedule = run(sources)
    emitted, taken = [0] * len(sources), [0] * len(sources)
    for source in schedule.order:
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
    last = schedule.order[-1]
    last_size = sources[last][0][list(schedule.order).count(last) - 1]
    assert schedule.total - last_size < budget <= schedule.total


@given(SOURCES)
def test_renormalize_without_a_budget_emits_every_document_once(sources):
    schedule = run(sources, on_exhaust="renormalize")
    assert [list(schedule.order).count(i) for i in range(len(sources))] == [len(sizes) for sizes, _ in sources]
    assert sorted(schedule.exhausted) == list(range(len(sources)))


@given(SOURCES)
def test_stop_ends_when_the_source_whose_turn_it_is_has_nothing_left(sources):
    schedule = run(sources)
    (ended,) = schedule.exhausted
    assert schedule.emitted[ended] == sum(sources[ended][0])
    served = [total / weight for total, (_, weight) in zip(schedule.emitted, sources, strict=True)]
    assert served[ended] == min(served)


def test_ties_go_to_the_source_named_first():
    assert list(run([([1, 1], Fraction(1)), ([1, 1], Fraction(1))]).order) == [0, 1, 0, 1]


def test_one_to_three_by_hand():
    # Clocks of a (weight 1, documents of 2) and b (weight 3, documents of 3): a 0, b 0, b 1, then a 2 ties with b 2.
    schedule = run([([2] * 3, Fraction(1)), ([3] * 9, Fraction(3))])
    assert "".join("ab"[i] for i in schedule.order) == "abbabbabb"
    assert schedule.emitted == [6, 18]


def test_decimal_weights_are_exact():
    # In floating point 0.1 + 0.2 leads 0.3, and the ties would fall otherwise.
    sources = [([1] * 30, Fraction("0.1")), ([1] * 60, Fraction("0.2"))]
    assert run(sources).emitted == run([([1] * 30, Fraction(1)), ([1] * 60, Fraction(2))]).emitted == [30, 60]
