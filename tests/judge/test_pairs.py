"""From a responses record to its comparisons, and from a verdict to a preference record."""

from __future__ import annotations

import json

import pytest

from seatools.judge.both_orders import Verdict
from seatools.judge.criteria import DEFAULT, read_criteria
from seatools.judge.pairs import Comparison, comparisons, preference, prompt_text
from seatools.streams.errors import SeaError
from seatools.streams.records import BadRecord, Record

LINE = b'{ "prompt" : "why" , "n": 1.0e3, "responses": ["a", "b"], "big": 12345678901234567890123, "lang": "th"}'


def record(responses: list[str], prompt: object = "why") -> Record:
    value = {"prompt": prompt, "responses": responses}
    return Record(json.dumps(value).encode(), value, "r.jsonl", 7)


def found(responses: list[str]) -> list[object]:
    """Pairs of indices, or reasons."""
    items = comparisons(record(responses))
    return [item.reason if isinstance(item, BadRecord) else (item.i, item.j) for item in items]


def test_every_pair_of_answers_is_compared():
    assert found(["a", "b"]) == [(0, 1)]
    assert found(["a", "b", "c", "d"]) == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]


def test_pairs_that_cannot_be_judged_are_named_by_reason():
    assert found([]) == ["one answer"]
    assert found(["a"]) == ["one answer"]
    assert found(["a", " a\n"]) == ["identical answers"]
    assert found(["a", " \n"]) == ["empty answer"]
    assert found(["", ""]) == ["empty answer"]
    assert found(["a", "b", "a"]) == [(0, 1), "identical answers", (1, 2)]


def test_a_comparison_asks_about_its_two_answers():
    question = Comparison(record(["a", "b", "c"]), 0, 2).question
    assert (question.prompt, question.first, question.second) == ("why", "a", "c")


def test_a_prompt_of_one_turn_is_its_text_and_of_several_their_roles_too():
    user, system = {"role": "user", "content": "why"}, {"role": "system", "content": "be kind"}
    assert prompt_text("why") == prompt_text([user]) == "why"
    assert prompt_text([system, user]) == "system: be kind\nuser: why"


def test_a_preference_keeps_all_but_the_responses_byte_for_byte():
    comparison = Comparison(Record(LINE, json.loads(LINE), "r.jsonl", 1), 0, 1)
    line = preference(comparison, Verdict(1.5, -0.5), "d" * 64)
    kept = b'{"prompt" : "why","n": 1.0e3,"big": 12345678901234567890123,"lang": "th",'
    assert line == kept + (
        b'"chosen":"a","rejected":"b","margin":1.0,"judgements":'
        b'{"judge":"dddddddddddddddd","first":0,"second":1,"forward":1.5,"backward":-0.5}}'
    )


def test_the_winner_is_chosen():
    comparison = Comparison(record(["a", "b", "c"]), 0, 2)
    first = json.loads(preference(comparison, Verdict(1, -1), "d"))
    second = json.loads(preference(comparison, Verdict(-1, 1), "d"))
    assert (first["chosen"], first["rejected"]) == ("a", "c")
    assert (second["chosen"], second["rejected"]) == ("c", "a")
    assert "responses" not in first


def test_a_prompt_of_messages_has_messages_chosen_and_rejected():
    comparison = Comparison(record(["a", "b"], prompt=[{"role": "user", "content": "why"}]), 0, 1)
    value = json.loads(preference(comparison, Verdict(1, -1), "d"))
    assert value["prompt"] == [{"role": "user", "content": "why"}]
    assert value["chosen"] == [{"role": "assistant", "content": "a"}]
    assert value["rejected"] == [{"role": "assistant", "content": "b"}]


def test_criteria_are_the_users_or_the_default(tmp_path):
    (tmp_path / "c.txt").write_text("\nBe kind.\n")
    assert read_criteria(tmp_path / "c.txt") == "Be kind."
    assert read_criteria(None) == DEFAULT


@pytest.mark.parametrize("content", [b"", b" \n", b"\xff\xfe"])
def test_criteria_that_say_nothing_are_refused(tmp_path, content):
    (tmp_path / "c.txt").write_bytes(content)
    with pytest.raises(SeaError, match="c.txt"):
        read_criteria(tmp_path / "c.txt")
    with pytest.raises(SeaError, match="missing.txt"):
        read_criteria(tmp_path / "missing.txt")
