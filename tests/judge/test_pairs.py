"""From a responses record to what is asked, and from what is said to a preference record."""

from __future__ import annotations

import itertools
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatools.judge.filters import AnswerFilter, FilterOptions
from seatools.judge.pairs import (
    Choice,
    Comparison,
    choose_compared,
    choose_rated,
    comparisons,
    preference,
    ratings,
)
from seatools.judge.spin import gold_pairs
from seatools.judge.verdict import Verdict
from seatools.streams.records import BadRecord, Record

LINE = b'{ "prompt" : "why" , "n": 1.0e3, "responses": ["a", "b"], "big": 12345678901234567890123, "lang": "th"}'


def record(responses: list[str], prompt: object = "why", **more: object) -> Record:
    value = {"prompt": prompt, "responses": responses, **more}
    return Record(json.dumps(value).encode(), value, "r.jsonl", 7)


def found(responses: list[str], usable: list[int] | None = None, which: str = "all") -> list[object]:
    """Pairs of indices, or reasons."""
    items = comparisons(record(responses), range(len(responses)) if usable is None else usable, which)
    return [item.reason if isinstance(item, BadRecord) else (item.i, item.j) for item in items]


def test_every_pair_of_answers_is_compared_or_the_first_two():
    assert found(["a", "b"]) == [(0, 1)]
    assert found(["a", "b", "c", "d"]) == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    assert found(["a", "b", "c", "d"], which="best-worst") == found(["a", "b", "c", "d"])
    assert found(["a", "b", "c", "d"], which="first-two") == [(0, 1)]
    assert found(["a", "b", "c", "d"], usable=[1, 3], which="first-two") == [(1, 3)]


def test_pairs_that_cannot_be_judged_are_named_by_reason():
    assert found([]) == ["one answer"]
    assert found(["a"]) == ["one answer"]
    assert found(["a", "b"], usable=[1]) == ["one answer"]
    assert found(["a b", " a\n b"]) == ["identical answers"]
    assert found(["\u00e9", "e\u0301"]) == ["identical answers"]
    assert found(["a", "b", "a"]) == [(0, 1), "identical answers", (1, 2)]


def test_answers_to_rate_are_all_but_of_a_record_without_two():
    def rated(responses):
        return [one.reason if isinstance(one, BadRecord) else one.i for one in ratings(record(responses), range(3))]

    assert rated(["a", "b", "a"]) == [0, 1, 2]
    assert rated(["a", "a", "a "]) == ["identical answers"]
    assert [one.reason for one in ratings(record(["a"]), [0]) if isinstance(one, BadRecord)] == ["one answer"]


# What becomes of a verdict


def outcomes(verdicts: list[Verdict | None], which: str = "all", min_margin: float = 0.0) -> list[object]:
    """(best, worst) or the reason, for the pairs of as many answers as it takes."""
    size = next(k for k in range(2, 9) if k * (k - 1) // 2 == len(verdicts))
    one = record([f"answer {k}" for k in range(size)])
    items = [Comparison(one, i, j) for i, j in itertools.combinations(range(size), 2)]
    chosen = choose_compared(items, verdicts, which, min_margin)
    return [(made.best, made.worst) if isinstance(made, Choice) else made for _, made in chosen]


def test_the_winner_is_chosen_and_everything_else_has_a_reason():
    assert outcomes([Verdict(1, -1)]) == [(0, 1)]
    assert outcomes([Verdict(-1, 1)]) == [(1, 0)]
    assert outcomes([Verdict(1, 1)]) == ["orders disagree"]
    assert outcomes([Verdict(0, -1)]) == ["tie"]
    assert outcomes([None]) == ["no verdict"]
    assert outcomes([Verdict(1, -0.5)], min_margin=0.75) == [(0, 1)]
    assert outcomes([Verdict(1, -0.5)], min_margin=0.76) == ["margin below 0.76"]


def by_strength(strengths: list[float], noise: float = 0.0) -> list[Verdict]:
    return [Verdict(a - b + noise, b - a + noise) for a, b in itertools.combinations(strengths, 2)]


def test_best_worst_is_the_one_pair_of_the_extremes():
    assert outcomes(by_strength([2, 0, 3]), "best-worst") == [(2, 1)]
    assert outcomes(by_strength([2, 0, 3, -1]), "best-worst") == [(2, 3)]
    assert outcomes(by_strength([2, 0, 3], noise=9), "best-worst") == ["orders disagree"]
    assert outcomes([Verdict(1, -1)], "best-worst") == [(0, 1)]
    circle = [Verdict(3, -3), Verdict(-1, 1), Verdict(1, -1)]  # 0 > 1 by 3, 2 > 0 by 1, 1 > 2 by 1
    assert outcomes(circle, "best-worst") == [(0, 1)]
    against = [Verdict(5, -5), Verdict(-0.1, 0.1), Verdict(5, -5)]  # 0 > 1 > 2 by 5, but 2 > 0
    assert outcomes(against, "best-worst") == ["no best over worst"]
    assert outcomes([None] * 3, "best-worst") == ["no verdict"]


@given(st.lists(st.integers(-9, 9), min_size=3, max_size=6, unique=True))
def test_best_worst_finds_the_extremes_of_any_consistent_judge(strengths):
    expected = (strengths.index(max(strengths)), strengths.index(min(strengths)))
    assert outcomes(by_strength(list(map(float, strengths))), "best-worst") == [expected]


def rated(points: list[float], which: str = "best-worst", min_margin: float = 0.0) -> list[object]:
    made = choose_rated(record([f"a{k}" for k in range(len(points))]), dict(enumerate(points)), which, min_margin)
    return [(one.best, one.worst, one.margin) if isinstance(one, Choice) else one for one in made]


def test_points_choose_the_most_over_the_fewest():
    assert rated([1, 4, 2]) == [(1, 0, 3)]
    assert rated([4, 1, 4, 1]) == [(0, 1, 3)]
    assert rated([2, 2]) == ["tie"]
    assert rated([2, 3], min_margin=1.5) == ["margin below 1.5"]
    assert rated([math.nan, 3, 1]) == [(1, 2, 2)]
    assert rated([math.nan, 3]) == ["no verdict"]
    assert rated([1, 3, 3], "all") == ["tie", (1, 0, 2), (2, 0, 2)]


# The records


def test_a_preference_keeps_all_but_the_responses_byte_for_byte():
    one = Record(LINE, json.loads(LINE), "r.jsonl", 1)
    ((_, choice),) = choose_compared([Comparison(one, 0, 1)], [Verdict(1.5, -0.5)], "all", 0)
    line = preference(one, choice, "dddd")
    kept = b'{"prompt" : "why","n": 1.0e3,"big": 12345678901234567890123,"lang": "th",'
    assert line == kept + (
        b'"chosen":"a","rejected":"b","margin":1.0,"judgements":'
        b'{"judge":"dddd","first":0,"second":1,"forward":1.5,"backward":-0.5}}'
    )


def test_points_of_all_answers_stand_in_the_record():
    one = record(["a", "b", "c"])
    (choice,) = choose_rated(one, {0: 1.23456, 2: 4.0}, "best-worst", 0)
    value = json.loads(preference(one, choice, "d"))
    assert (value["chosen"], value["rejected"], value["margin"]) == ("c", "a", 2.7654)
    assert value["judgements"] == {"judge": "d", "first": 2, "second": 0, "points": [1.2346, None, 4.0]}


def test_a_prompt_of_messages_has_messages_chosen_and_rejected():
    one = record(["a", "b"], prompt=[{"role": "user", "content": "why"}])
    value = json.loads(preference(one, Choice(1, 0, 1.0, {}), "d"))
    assert value["prompt"] == [{"role": "user", "content": "why"}]
    assert value["chosen"] == [{"role": "assistant", "content": "b"}]
    assert value["rejected"] == [{"role": "assistant", "content": "a"}]
    assert "responses" not in value


# SPIN

PASSING = AnswerFilter(FilterOptions())


@pytest.mark.parametrize(
    ("gold", "key"),
    [
        ({"reference": "gold"}, "reference"),
        ({"reference": "gold", "completion": "other"}, "reference"),
        ({"completion": "gold"}, "completion"),
        ({"completion": [{"role": "assistant", "content": "gold"}]}, "completion"),
        ({"chosen": "gold", "rejected": "old"}, "chosen"),
        ({"messages": [{"role": "user", "content": "why"}, {"role": "assistant", "content": "gold"}]}, "messages"),
    ],
)
def test_gold_is_chosen_and_each_own_answer_rejected(gold, key):
    lines = gold_pairs(record(["a", "b"], **gold), [0, 1], PASSING)
    made = [json.loads(line) for line in lines if isinstance(line, bytes)]
    assert [(value["chosen"], value["rejected"]) for value in made] == [("gold", "a"), ("gold", "b")]
    assert [value["judgements"] for value in made] == [
        {"mode": "spin", "gold": key, "second": 0}, {"mode": "spin", "gold": key, "second": 1},
    ]  # fmt: skip
    assert not any("margin" in value or "responses" in value for value in made)


def test_what_makes_no_pair_with_gold_has_a_reason():
    def reasons(one, usable=(0,), filtering=PASSING):
        return [made.reason for made in gold_pairs(one, usable, filtering) if isinstance(made, BadRecord)]

    assert reasons(record(["a"])) == ["no gold answer"]
    assert reasons(record(["a"], reference=" ")) == ["no gold answer"]
    assert reasons(record(["a"], messages=[{"role": "user", "content": "a"}])) == ["no gold answer"]
    assert reasons(record([" a "], reference="a")) == ["identical answers"]
    assert reasons(record([""], reference="a"), ()) == ["no answer"]
    assert reasons(record(["abc"], reference="a"), filtering=AnswerFilter(FilterOptions(max_length_ratio=2))) == [
        "length ratio"
    ]
