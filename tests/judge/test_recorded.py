"""Judgements that are replayed: of people, of an earlier run; and those that cannot be meant."""

from __future__ import annotations

import json

import pytest
from tiny_llama import write_jsonl

GIVEN = [
    {"id": n, "prompt": f"why {n}", "responses": ["good", "bad"] if n % 2 else ["bad", "good"], "lang": "id"}
    for n in range(8)
]
SAID = {"id": 0, "first": 0, "second": 1, "forward": "A", "backward": "B"}


def records(output: bytes) -> list[dict]:
    return [json.loads(line) for line in output.splitlines()]


def lines(*values: object) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def test_judgements_of_people_are_replayed_by_id_in_either_order(sea, tmp_path):
    said = [
        {"id": n, "first": 0, "second": 1, "forward": "A", "backward": "B"}
        if n % 2
        else {"id": n, "first": 1, "second": 0, "forward": 2.5, "backward": -0.5}
        for n in range(len(GIVEN) - 1)
    ]
    said.append({"id": 7, "first": 0, "second": 1, "forward": None, "backward": None})
    recorded = write_jsonl(tmp_path / "said.jsonl", said)
    result = sea("judge", "--recorded", recorded, stdin=lines(*GIVEN))
    assert result.code == 0, result.stderr
    found = records(result.stdout)
    assert [(value["chosen"], value["margin"]) for value in found] == [("good", 1.5), ("good", 1.0)] * 3 + [
        ("good", 1.5)
    ]
    assert "(no verdict)" in result.stderr


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"id": 0, "first": 0, "second": 1, "forward": 1, "backward": -1}], "7 of 8 have no judgement"),
        ([{"id": 0, "forward": 1, "backward": -1}], "a judgement needs `item`"),
        ([{"id": 0, "first": 0, "second": 1, "forward": 1}], "needs forward and backward"),
        ([{"id": 0, "first": 0, "second": 1, "forward": "C", "backward": 1}], '"forward" of a judgement'),
    ],
)
def test_recorded_judgements_that_do_not_serve_are_named(sea, tmp_path, rows, words):
    recorded, out = write_jsonl(tmp_path / "said.jsonl", rows), tmp_path / "out.jsonl"
    result = sea("judge", "--recorded", recorded, "-o", out, stdin=lines(*GIVEN))
    assert result.code == 1
    assert words in result.stderr
    assert not out.exists()


@pytest.mark.parametrize(
    "other",
    [{**SAID, "forward": "B", "backward": "A"}, {**SAID, "first": 1, "second": 0}, {**SAID, "forward": None}],
)
def test_two_judgements_of_the_same_answers_that_differ_are_refused(sea, tmp_path, other):
    recorded = write_jsonl(tmp_path / "said.jsonl", [SAID, {**SAID, "id": 1}, other])
    result = sea("judge", "--recorded", recorded, stdin=lines(*GIVEN[:2]))
    assert result.code == 1 and "said.jsonl:3: another judgement of the same answers" in result.stderr
    turned = {**SAID, "first": 1, "second": 0, "forward": "B", "backward": "A"}
    recorded = write_jsonl(tmp_path / "said.jsonl", [SAID, SAID, turned])  # all three name answer 0
    assert records(sea("judge", "--recorded", recorded, stdin=lines(GIVEN[0])).stdout)[0]["chosen"] == "bad"


def test_a_judgement_by_an_id_that_two_records_have_is_refused(sea, tmp_path):
    recorded = write_jsonl(tmp_path / "said.jsonl", [SAID])
    twin = {**GIVEN[1], "id": 0}
    result = sea("judge", "--recorded", recorded, stdin=lines(GIVEN[0], twin))
    assert result.code == 1 and "stdin:2: another record has the id 0" in result.stderr
    assert sea("judge", "--recorded", recorded, stdin=lines(GIVEN[0], GIVEN[0])).code == 0


@pytest.mark.parametrize("mode", ["pairwise", "pointwise", "spin"])
def test_the_length_ratio_holds_in_every_mode(sea, tmp_path, mode):
    given = {"id": 0, "prompt": "p", "responses": ["short", "so long " * 9], "reference": "so very long " * 9}
    said = [SAID] if mode == "pairwise" else [{"id": 0, "answer": n, "points": n} for n in range(2)]
    options = [] if mode == "spin" else ["--recorded", write_jsonl(tmp_path / "said.jsonl", said)]
    out = tmp_path / "out.jsonl"
    plain = sea("judge", "--mode", mode, *options, stdin=lines(given))
    assert len(records(plain.stdout)) == (2 if mode == "spin" else 1), plain.stderr
    other = {**given, "id": 1, "responses": ["one of", "equals"], "reference": "length"}
    said += [{**one, "id": 1} for one in said]
    options = [] if mode == "spin" else ["--recorded", write_jsonl(tmp_path / "said.jsonl", said)]
    result = sea("judge", "--mode", mode, *options, "--max-length-ratio", 2, "-o", out, stdin=lines(given, other))
    assert result.code == 0 and "(length ratio)" in result.stderr, result.stderr
    assert "short" not in [value[key] for value in records(out.read_bytes()) for key in ("chosen", "rejected")]
