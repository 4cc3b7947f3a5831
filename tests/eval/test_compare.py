"""Two models on the same items: pairs by content, tests by metric, and what is refused or said."""

from __future__ import annotations

import math

import pytest
from made_samples import answer, choice, nats

from seatools.eval.compare import better, compare, matching, parse_wanted
from seatools.eval.samples import Sample
from seatools.streams.errors import SeaError, UsageError

B = {"model": "b", "model_digest": "w2", "tokenizer_digest": "t2"}


def quiz(right: list[bool], first: int = 0, **more: object) -> list[Sample]:
    return [choice(first + n, right=flag, **more) for n, flag in enumerate(right)]


def test_accuracies_are_tested_by_mcnemar() -> None:
    a = quiz([True] * 20 + [False] * 15 + [True] * 5 + [False] * 10)
    b = quiz([True] * 20 + [True] * 15 + [False] * 5 + [False] * 10, **B)
    acc, norm = compare(a, b[::-1]).rows
    assert (acc["a"], acc["b"], acc["n"], acc["unpaired"]) == (0.5, 0.7, 50, 0)
    assert acc["difference"] == pytest.approx(0.2) and acc["low"] < 0.2 < acc["high"]
    assert (acc["only_a"], acc["only_b"], acc["test"]) == (5, 15, "mcnemar")
    assert acc["p"] == acc["p_holm"] == pytest.approx(0.04138946533203125)
    assert (norm["p"], norm["p_holm"]) == (acc["p"], None)  # a second metric of the task is no second test
    paired = math.sqrt((0.4 - 0.2**2) / 50)
    assert acc["detectable"] == pytest.approx(1.96 * paired, rel=0.1)
    assert better(acc) == "B" and better(norm) is None
    assert (acc["model_a"], acc["model_b"]) == ("m", "b")


def test_holm_runs_over_tasks_and_languages() -> None:
    a, b = [], []
    for lang, gain in (("th", 12), ("lo", 8), ("km", 0)):
        a += quiz([False] * 12 + [True] * 8, lang=lang)
        b += quiz([True] * gain + [False] * (12 - gain) + [True] * 8, lang=lang, **B)
    rows = {row["lang"]: row for row in compare(a, b).rows if row["metric"] == "acc"}
    p = {lang: row["p"] for lang, row in rows.items()}
    assert p == {"th": 2 / 2**12, "lo": 2 / 2**8, "km": 1.0}
    assert {lang: row["p_holm"] for lang, row in rows.items()} == {"th": 3 * p["th"], "lo": 2 * p["lo"], "km": 1.0}


def test_bits_per_byte_and_chrf_by_the_paired_bootstrap() -> None:
    a = [nats(n, 20.0 + n % 7, 30) for n in range(40)] + [
        answer(n, "แมวนอน", "chrf", reference="แมวดำนอน") for n in range(30)
    ]
    b = [nats(n, 19.0 + n % 7, 30, **B) for n in range(40)]
    b += [answer(n, "แมวดำนอน" if n % 2 else "แมวนอน", "chrf", reference="แมวดำนอน", config=B) for n in range(30)]
    rows = {row["metric"]: row for row in compare(a, b).rows}
    bits = rows["bits_per_byte"]
    assert bits["difference"] == pytest.approx(-1 / math.log(2) / 30)
    assert (
        bits["low"] == pytest.approx(bits["high"]) == pytest.approx(bits["difference"])
    )  # the same gain in every document
    assert (bits["test"], bits["p"]) == ("bootstrap", 1 / 1001) and better(bits) == "B"
    assert rows["chrf"]["difference"] > 0 and better(rows["chrf"]) == "B"
    assert 0 < rows["chrf"]["low"] < rows["chrf"]["difference"] < rows["chrf"]["high"]


def test_the_same_run_twice_shows_nothing() -> None:
    made = quiz([True, False, True]) + [nats(n, 5.0 + n, 9) for n in range(3)]
    for row in compare(made, made).rows:
        assert (row["difference"], row["p"], better(row)) == (0, 1, None)


def test_unpaired_items_are_counted_and_too_many_refused() -> None:
    a, b = quiz([True] * 100), quiz([False] * 96, first=2, **B)
    row = compare(a, b).rows[0]
    assert (row["n"], row["unpaired"], row["a"], row["b"]) == (96, 4, 1, 0)
    with pytest.raises(SeaError, match=r"4 of A's 100 items and 0 of B's 96"):
        compare(a, b, max_unpaired=0.02)
    with pytest.raises(SeaError, match="are not in the other"):
        compare(a, quiz([True] * 50, first=1000, **B), max_unpaired=1)


def test_other_settings_are_named() -> None:
    a = quiz([True, False], shots=0, template_digest="t1") + quiz(
        [True, False], shots=0, template_digest="t1", lang="lo"
    )
    b = quiz([True, False], shots=5, **B) + quiz([True, False], shots=5, lang="lo", **B)
    assert compare(a, b).warnings == [
        "shots is 0 in A, 5 in B (quiz lo, quiz th)",
        "template_digest is t1 in A, none in B (quiz lo, quiz th)",
    ]


def test_tasks_of_one_side_are_named_and_none_in_common_is_an_error() -> None:
    a = quiz([True, False]) + quiz([True, False], lang="lo")
    assert compare(a, quiz([True, False], **B)).warnings == ["only in A: quiz lo"]
    with pytest.raises(SeaError, match="no task and language in common"):
        compare(a, [nats(0, 1.0, 3)])


def test_a_file_with_two_runs_needs_a_choice() -> None:
    both = quiz([True, False, True]) + quiz([False, False, False], neurons_digest="n", deactivate="n.safetensors:th")
    with pytest.raises(UsageError, match="A holds quiz th more than once, with other deactivate, neurons_digest"):
        compare(both, both)
    row = compare(
        matching(both, parse_wanted(["deactivate="], "a")),
        matching(both, parse_wanted(["deactivate=n.safetensors:th"], "b")),
    ).rows[0]
    assert (row["a"], row["b"]) == (2 / 3, 0)
    with pytest.raises(UsageError, match="KEY=VALUE"):
        parse_wanted(["shots"], "a")


def test_numbers_as_values_of_a_choice() -> None:
    made = quiz([True], shots=5) + quiz([True], shots=0)
    assert [one.config["shots"] for one in matching(made, {"shots": "5"})] == [5]


def test_scored_in_two_ways_is_refused() -> None:
    with pytest.raises(SeaError, match="A is scored by choice, B by labels"):
        compare(quiz([True, False]), quiz([True, False], scoring="labels", **B))
