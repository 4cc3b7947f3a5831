"""Multiple choice: scores equal plain computation, accuracy and its normalised form, shots, bad items."""

from __future__ import annotations

import numpy as np
import pytest
from asked_model import requests, samples, scores
from tiny_eval import records
from tiny_llama import BOS, EOS

from seatools.eval.sources import Source
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.records import BadRecord

ROWS = [
    {"question": "What colour is grass?", "choices": ["green", "a shade of blue"], "answer": 0},
    {"question": "2 + 2?", "choices": ["three", "4", "five"], "answer": "B"},
    {"question": "Where do fish live?", "choices": ["air", "water"], "answer": "water"},
]


def source(*rows: dict, lang: str = "en") -> Source:
    return Source(lang, ("data.jsonl",), records(*rows))


def test_scores_equal_plain_log_likelihoods(model, setup_of, log_probs, monkeypatch):
    setup = setup_of()
    sums = []
    for row in ROWS:
        context = [BOS, *setup.tokenizer.encode(f"Question: {row['question']}\nAnswer:")]
        ends = [setup.tokenizer.encode(f" {choice}") for choice in row["choices"]]
        sums.append(np.array([float(log_probs(context + end)[-len(end) :].sum()) for end in ends]))
    answers = [0, 1, 1]
    acc = np.mean([values.argmax() == answer for values, answer in zip(sums, answers, strict=True)])
    num_bytes = [np.array([len(choice) for choice in row["choices"]]) for row in ROWS]
    normed = np.mean([(v / b).argmax() == a for v, b, a in zip(sums, num_bytes, answers, strict=True)])

    asked = requests("choice", [source(*ROWS)], setup)
    found = samples(model, asked, setup)
    assert np.concatenate([one.result["logprobs"] for one in found]) == pytest.approx(np.concatenate(sums), abs=1e-4)
    assert [one.result["gold"] for one in found] == answers
    figures = scores(model, asked, setup)
    assert (figures["acc"]["value"], figures["acc_norm"]["value"]) == (acc, normed)
    assert (figures["acc"]["n"], figures["acc"]["config"]["format"]) == (3, "choice")


def test_batching_changes_scores_by_rounding_only(model, setup_of):
    found = []
    for tokens in (16, 100_000):
        setup = setup_of(batch_tokens=tokens)
        found.append(
            [one.result["logprobs"] for one in samples(model, requests("choice", [source(*ROWS)], setup), setup)]
        )
    for one, other in zip(*found, strict=True):
        assert one == pytest.approx(other, abs=1e-4)


def test_shots_stand_before_the_question_with_their_answers(setup_of):
    setup = setup_of(shots=2)
    (request,) = requests("choice", [source(ROWS[0])], setup, [source(ROWS[2], ROWS[1], ROWS[0])])
    ids, mask = request.docs[0]
    assert setup.tokenizer.decode(ids.tolist()) == (
        "Question: Where do fish live?\nAnswer: water\n\nQuestion: 2 + 2?\nAnswer: 4\n\n"
        "Question: What colour is grass?\nAnswer: green"
    )
    assert int(mask.sum()) == len(" green")


def test_a_question_among_its_own_shots_is_refused(setup_of):
    with pytest.raises(UsageError, match="data.jsonl:1: this question is one of the shots"):
        requests("choice", [source(*ROWS)], setup_of(shots=1), [source(*ROWS)])


def test_too_few_shots_are_refused(setup_of):
    with pytest.raises(UsageError, match="1 shots for en, --shots asks for 2"):
        requests("choice", [source(ROWS[0])], setup_of(shots=2), [source(ROWS[1])])


def test_eos_is_no_part_of_a_choice(setup_of):
    (request,) = requests("choice", [source(ROWS[0])], setup_of())
    assert [int(ids[-1]) for ids, _ in request.docs] != [EOS, EOS]


def test_a_question_longer_than_the_model_is_named(setup_of):
    row = ROWS[0] | {"question": "x" * 200}
    with pytest.raises(BadRecord) as caught:
        requests("choice", [source(ROWS[1], row)], setup_of())
    assert caught.value.where == "data.jsonl:2"
    assert "the model takes 160" in caught.value.what


def test_bad_questions_can_be_skipped(model, setup_of):
    from dataclasses import replace

    from seatools.streams.records import Rejects

    setup = replace(setup_of(), rejects=Rejects("skip"))
    bad = [ROWS[0] | {"answer": 7}, {"question": "no choices"}, ROWS[0] | {"question": "x" * 200}]
    asked = requests("choice", [source(*ROWS, *bad)], setup)
    assert [len(request.docs) for request in asked] == [2, 3, 2]
    assert setup.rejects.counts == {"bad label": 1, "missing column": 1, "too long": 1}


def test_data_without_any_good_question_is_an_error(setup_of):
    from dataclasses import replace

    from seatools.streams.records import Rejects

    with pytest.raises(SeaError, match="no question left to score for choice, en"):
        requests("choice", [source(ROWS[0] | {"answer": 7})], replace(setup_of(), rejects=Rejects("skip")))


def test_unknown_rows_are_refused_with_the_shape_to_make(setup_of):
    with pytest.raises(SeaError, match="no multiple-choice format has these keys: text.*`question`, `choices`"):
        requests("choice", [source({"text": "x"})], setup_of())
