"""Weights that change along the run."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mix_sources import emitted, sized_plan

from seatools.mix.phases import Phase, check_phases, phase_ends
from seatools.mix.plan_report import plan_table, plan_warnings
from seatools.streams.errors import SeaError, UsageError


def by_phase(plan) -> list[list[tuple[int, int]]]:
    left, found = emitted(plan), []
    for phase in plan.phases:
        found.append(left[: len(phase.schedule.order)])
        left = left[len(phase.schedule.order) :]
    assert not left
    return found


TEN = {"a": [10] * 30, "b": [10] * 30}


def test_each_phase_has_its_weights_and_its_share():
    plan = sized_plan(
        TEN,
        [
            Phase(name="1", share=Fraction(3, 4), weights={"a": Fraction(1), "b": Fraction(2)}),
            Phase(name="2", share=Fraction(1, 4), weights={"a": Fraction(1), "b": Fraction(0)}),
        ],
        budget=400,
    )
    first, second = by_phase(plan)
    assert Counter(source for source, _ in first) == {0: 10, 1: 20}
    assert Counter(source for source, _ in second) == {0: 10}
    row = plan.rows[0]
    assert [share.emitted for share in row.phases] == [100, 100]
    assert [share.target_share for share in row.phases] == [0.333333, 1.0]
    assert (row.share, row.target_share, row.units_wanted) == (0.5, 0.5, 200)


def test_a_source_goes_on_where_it_stopped():
    phases = [Phase(name=str(i), share=Fraction(1, 4)) for i in range(4)]
    plan = sized_plan(TEN, phases, budget=800)
    came = [doc for source, doc in emitted(plan) if source == 0]
    assert sorted(came[:30]) == list(range(30)) and len(came) == 40 and set(came[30:]) < set(range(30))


def test_a_phase_may_raise_the_cap_of_good_data_that_comes_again():
    # b is used up (1 epoch) in the first phase; in the last it is read twice more.
    end = Phase(name="end", share=Fraction(1, 2), weights={"a": Fraction(0)}, max_epochs={"b": 3})
    plan = sized_plan(TEN, [Phase(name="main", share=Fraction(1, 2)), end], max_epochs=1, budget=600)
    row = plan.rows[1]
    assert [(share.emitted, share.epochs) for share in row.phases] == [(150, 0.5), (300, 1.5)]
    assert not plan.short_by() and row.max_epochs == 3
    short = sized_plan(TEN, [Phase(name="main", share=Fraction(1, 2)), end], max_epochs=1, budget=1600)
    # The first phase wants 800 of 600: a mix that keeps its ratios ends there.
    assert (short.schedule.total, len(short.phases)) == (600, 1)
    assert [row.units_wanted for row in short.rows] == [400, 400 + 800]
    assert plan_warnings(short) == [
        "the budget is not reached: 600 of 1,600 bytes, because source a is used up (1 epoch) in phase main; "
        "the budget would take 400 bytes of it (1.3 epochs)",
        "the mix ends before phase end",
    ]


def test_renormalize_goes_on_to_the_next_phase_which_does_not_make_up():
    end = Phase(name="end", share=Fraction(1, 4), weights={"a": Fraction(0), "b": Fraction(1)}, max_epochs={"b": 9})
    phases = [Phase(name="main", share=Fraction(3, 4)), end]
    plan = sized_plan(TEN, phases, max_epochs=1, budget=1200, on_exhaust="renormalize")
    assert [phase.schedule.total for phase in plan.phases] == [600, 300]
    assert plan.short_by() == 300


def test_error_names_source_phase_and_what_would_be_needed():
    phases = [Phase(name="main", share=Fraction(1, 2)), Phase(name="end", share=Fraction(1, 2))]
    with pytest.raises(SeaError) as found:
        sized_plan(TEN, phases, max_epochs=1, budget=1000, on_exhaust="error")
    assert "the budget of 1,000 bytes ends at 600: source a is used up (1 epoch) in phase end" in str(found.value)
    assert "the budget would take 500 bytes of it (1.7 epochs)" in str(found.value)


def test_the_table_has_one_for_each_phase():
    phases = [
        Phase(name="main", budget=150, weights={"b": Fraction(2)}),
        Phase(name="end", budget=30, weights={"a": Fraction(0)}),
    ]
    table = plan_table(sized_plan(TEN, phases))
    assert table.splitlines()[3:] == [
        "phase main: 150 of 150 bytes",
        "     weight  epochs so far  emitted docs  emitted bytes   share  target",
        "  a       1      0.17 of 4             5             50  33.33%  33.33%",
        "  b       2      0.33 of 4            10            100  66.67%  66.67%",
        "phase end: 30 of 30 bytes",
        "     weight  epochs so far  emitted docs  emitted bytes    share   target",
        "  a       0      0.17 of 4             0              0    0.00%    0.00%",
        "  b       1      0.43 of 4             3             30  100.00%  100.00%",
        "180 bytes in 18 documents; ends at the budget of 180",
    ]


SIZES = st.dictionaries(st.sampled_from("abc"), st.lists(st.integers(1, 50), min_size=1, max_size=12), min_size=1)
PHASES = st.lists(
    st.tuples(st.integers(1, 600), st.lists(st.integers(0, 3), min_size=3, max_size=3), st.none() | st.integers(1, 5)),
    min_size=1,
    max_size=4,
)


@given(SIZES, PHASES, st.integers(1, 3), st.sampled_from(["stop", "renormalize"]))
@settings(max_examples=40, deadline=None)
def test_a_phased_plan_keeps_its_caps_and_its_ends(sizes, drawn, max_epochs, on_exhaust):
    phases = [
        Phase(
            name=str(number), budget=budget,
            weights={name: Fraction(weight) for name, weight in zip("abc", weights, strict=True) if name in sizes},
            max_epochs={} if cap is None else {"": cap},
        )
        for number, (budget, weights, cap) in enumerate(drawn)
    ]  # fmt: skip
    assume(all(any(phase.weights.values()) for phase in phases))
    assume(all(any(phase.weights[name] for phase in phases) for name in sizes))
    plan = sized_plan(sizes, phases, max_epochs=max_epochs, on_exhaust=on_exhaust)
    names, came = list(sizes), Counter()
    for phase, planned, drawn in zip(phases[: len(plan.phases)], plan.phases, by_phase(plan), strict=True):
        for source, doc in drawn:
            assert phase.weights[names[source]]
            came[source, doc] += 1
            cap = phase.max_epochs.get("", max_epochs)
            assert came[source, doc] <= cap
        units = [sizes[names[source]][doc] for source, doc in drawn]
        assert sum(units) == planned.schedule.total
        # A phase ends with the document that reaches its end, or short of it with a source used up.
        if sum(units) < planned.wanted:
            assert planned.schedule.exhausted
        elif units:
            assert sum(units) - units[-1] < planned.wanted
    for source, name in enumerate(names):
        counts = [came[source, doc] for doc in range(len(sizes[name]))]
        assert max(counts) - min(counts) <= 1
        assert plan.rows[source].emitted_docs == sum(counts)
        assert plan.rows[source].emitted == sum(share.emitted for share in plan.rows[source].phases)


def test_ends_are_rounded_shares():
    thirds = [Phase(name=str(i), share=Fraction(1, 3)) for i in range(3)]
    assert phase_ends(thirds, 100) == [33, 67, 100]
    assert phase_ends([Phase(name="a", budget=5), Phase(name="b", budget=7)], None) == [5, 12]
    assert phase_ends([], 9) == [9] and phase_ends([], None) == [None]


@pytest.mark.parametrize(
    ("phases", "budget", "message"),
    [
        ([Phase(name="a", share=Fraction(1, 2))], 10, "0.5 together, not 1"),
        ([Phase(name="a", share=Fraction(1))], None, "need a budget"),
        ([Phase(name="a", share=Fraction(1, 2)), Phase(name="b", budget=9)], 10, "some phases have a share"),
        ([Phase(name="a", budget=9)], 10, "a budget of the mix and budgets of its phases"),
        ([Phase(name="a", budget=9), Phase(name="a", budget=9)], None, "two phases are named a"),
    ],
)
def test_phases_that_do_not_divide_a_budget_are_refused(phases, budget, message):
    with pytest.raises(UsageError, match=message):
        check_phases(phases, budget)


@pytest.mark.parametrize(
    ("phase", "message"),
    [
        ({}, "a share of the budget or a budget"),
        ({"share": Fraction(1), "budget": 4}, "not both"),
        ({"share": Fraction(0)}, "greater than 0"),
        ({"budget": 0}, "at least 1"),
        ({"budget": 1, "weights": {"a": Fraction(-1)}}, "the weight of a is negative"),
        ({"budget": 1, "max_epochs": {"a": 0}}, "max_epochs of a must be at least 1"),
    ],
)
def test_what_is_no_phase_is_refused(phase, message):
    with pytest.raises(UsageError, match=message):
        Phase(name="x", **phase)


def test_a_plan_that_is_wider_than_the_terminal_goes_on_below():
    wide = plan_table(sized_plan(TEN, [])).splitlines()
    lines = plan_table(sized_plan(TEN, []), 70).splitlines()
    assert max(map(len, lines[:6])) <= 70 < len(wide[0])
    assert [lines[at].split()[0] for at in range(6)] == ["source", "a", "b"] * 2
    assert [(lines[at] + lines[at + 3].removeprefix(lines[at].split()[0])).split() for at in range(3)] == [
        row.split() for row in wide[:3]
    ]
