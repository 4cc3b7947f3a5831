"""The plan's figures are those of what will be emitted."""

from __future__ import annotations

from array import array
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from mix_sources import emitted

from seatools.mix.document_store import DocumentStore
from seatools.mix.options import MixOptions
from seatools.mix.plan import Plan, make_plan
from seatools.mix.source_index import SourceIndex
from seatools.streams.source_specs import SourceSpec

SOURCE = st.tuples(
    st.lists(st.integers(1, 50), min_size=1, max_size=12),  # bytes of the documents
    st.fractions(min_value=1, max_value=5),
    st.none() | st.integers(1, 3),  # its own cap
)


def plan_for(sources, budget, max_epochs, on_exhaust, shuffle) -> Plan:
    specs = [
        SourceSpec(name=f"s{i}", glob="unused", weight=weight, max_epochs=cap)
        for i, (_, weight, cap) in enumerate(sources)
    ]
    options = MixOptions(
        sources=tuple(specs), unit="bytes", budget=budget, max_epochs=max_epochs, on_exhaust=on_exhaust, shuffle=shuffle
    )
    store = DocumentStore()
    indexes = [
        SourceIndex(spec, store, files=array("I", [0] * len(sizes)), num_bytes=array("I", sizes))
        for spec, (sizes, _, _) in zip(specs, sources, strict=True)
    ]
    return make_plan(indexes, options)


PLANS = st.builds(
    plan_for,
    st.lists(SOURCE, min_size=1, max_size=4),
    st.none() | st.integers(1, 2000),
    st.integers(1, 4),
    st.sampled_from(["stop", "renormalize"]),
    st.sampled_from(["global", "none"]),
)


@given(PLANS)
@settings(max_examples=40, deadline=None)
def test_no_document_comes_more_often_than_its_cap_nor_before_the_others_came_as_often(plan):
    came = Counter(emitted(plan))
    for source, (index, row) in enumerate(zip(plan.indexes, plan.rows, strict=True)):
        counts = [came[source, doc] for doc in range(len(index))]
        assert max(counts) <= row.max_epochs == (index.spec.max_epochs or plan.options.max_epochs)
        assert max(counts) - min(counts) <= 1


@given(PLANS)
@settings(max_examples=40, deadline=None)
def test_the_rows_count_what_is_emitted(plan):
    came = emitted(plan)
    for source, (index, row) in enumerate(zip(plan.indexes, plan.rows, strict=True)):
        docs = [doc for number, doc in came if number == source]
        assert (row.emitted_docs, row.emitted) == (len(docs), sum(index.num_bytes[doc] for doc in docs))
        assert row.emitted_bytes == row.emitted
    assert sum(row.emitted for row in plan.rows) == plan.schedule.total


@given(PLANS)
def test_a_plan_below_its_budget_names_the_source_that_ran_out(plan):
    if plan.options.budget is None or plan.short_by():
        assert any(row.exhausted and row.epochs == row.max_epochs for row in plan.rows)
    else:
        assert plan.schedule.total >= plan.options.budget
