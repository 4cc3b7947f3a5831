"""Units of work: every request once, the same units whatever the order, shared beginnings seldom read again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seatools.eval import units
from seatools.eval.items import GenerationItem, PerplexityItem
from seatools.eval.requests import AnswerRequest, ScoreRequest
from seatools.eval.units import plan_units


def scored(*docs: list[int], number: int = 0) -> ScoreRequest:
    item = PerplexityItem(
        task="t", lang="en", index=number, id=number, item=f"{number:032x}", where=f"f:{number}",
        scoring="bits_per_byte", text="x",
    )  # fmt: skip
    made = tuple((np.array(ids, dtype=np.int64), np.ones(len(ids), np.uint8)) for ids in docs)
    return ScoreRequest(item=item, config={}, docs=made, result=lambda values: {})


def asked(ids: list[int], *, stop: tuple[str, ...] = (), tokens: int = 8, number: int = 0) -> AnswerRequest:
    item = GenerationItem(
        task="t", lang="en", index=number, id=number, item=f"{number:032x}", where=f"f:{number}", scoring="chrf",
        prompt="x", stop=stop, max_new_tokens=tokens,
    )  # fmt: skip
    return AnswerRequest(
        item=item, config={}, ids=tuple(ids), stop=stop, max_new_tokens=tokens, expected={}, is_chat=False
    )


def distinct(documents: list[list[int]]) -> int:
    """Nodes of their prefix tree."""
    return len({tuple(ids[:end]) for ids in documents for end in range(1, len(ids) + 1)})


documents = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=12), min_size=1, max_size=40)


@settings(deadline=None)
@given(documents, st.integers(1, 40), st.randoms(use_true_random=False))
def test_each_request_is_in_one_unit_and_the_order_does_not_matter(docs, budget, chance):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(units, "UNIT_TOKENS", budget)
        requests = [scored(ids, number=number) for number, ids in enumerate(docs)]
        plan = plan_units(requests)
        assert sorted(r.item.index for unit in plan for r in unit.requests) == list(range(len(docs)))
        contents = [sorted(tuple(r.docs[0][0].tolist()) for r in unit.requests) for unit in plan]  # type: ignore[attr-defined]
        chance.shuffle(requests)
        again = plan_units(requests)
        assert contents == [sorted(tuple(r.docs[0][0].tolist()) for r in unit.requests) for unit in again]  # type: ignore[attr-defined]
        for unit in plan[:-1]:
            assert unit.weight >= budget
        for unit, own in zip(plan, contents, strict=True):  # duplicates cost one each
            assert (
                distinct([list(ids) for ids in own]) <= unit.weight <= distinct([list(ids) for ids in own]) + len(own)
            )


def test_a_long_beginning_is_read_again_for_a_sixteenth_at_most(monkeypatch):
    monkeypatch.setattr(units, "UNIT_TOKENS", 64)
    shots = list(range(100))
    plan = plan_units([scored([*shots, 200 + n, n], number=n) for n in range(3000)])
    assert len(plan) > 2
    for unit in plan[:-1]:
        assert unit.weight >= 16 * len(shots)
    assert sum(unit.weight for unit in plan) <= 1.07 * (len(shots) + 2 * 3000)


def test_the_choices_of_a_question_stay_together(monkeypatch):
    monkeypatch.setattr(units, "UNIT_TOKENS", 1)
    plan = plan_units([scored([1, 2, 3], [1, 2, 4], [9, 9], number=n) for n in range(3)])
    assert [len(r.docs) for unit in plan for r in unit.requests] == [3, 3, 3]  # type: ignore[attr-defined]


def test_prompts_of_other_limits_are_in_other_groups(monkeypatch):
    monkeypatch.setattr("seatools.engine.prompts.GROUP", 4)
    requests: list[Any] = [asked([n % 7, n], number=n, tokens=8 if n % 3 else 16) for n in range(20)]
    plan = plan_units(requests)
    assert sorted(r.item.index for unit in plan for r in unit.requests) == list(range(20))
    for unit in plan:
        assert len({r.max_new_tokens for r in unit.requests}) == 1 and len(unit.requests) <= 4  # type: ignore[attr-defined]
        assert unit.weight == sum(2 + 4 * r.max_new_tokens for r in unit.requests)  # type: ignore[attr-defined]
    assert max(len(unit.requests) for unit in plan_units(requests, larger=True)) == 13
