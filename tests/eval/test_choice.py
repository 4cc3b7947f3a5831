"""Multiple choice: scores equal plain computation, accuracy and its normalised form, shots, bad items."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tiny_eval import records
from tiny_llama import BOS, EOS

from seatools.eval.choice import Choice, accuracy, proportion_stderr
from seatools.eval.item import Item
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

    from seatools.engine import sequences

    seen = []
    real = sequences.score_documents
    monkeypatch.setattr(
        sequences, "score_documents", lambda *args, **more: seen.append(real(*args, **more)) or seen[-1]
    )
    found = {s.metric: s for s in Choice("choice").prepare([source(*ROWS)], [], setup).score(model, lambda n: None)}
    assert len(seen) == 1  # all choices of all items in one call
    assert seen[0] == pytest.approx(np.concatenate(sums), abs=1e-4)
    assert (found["acc"].value, found["acc_norm"].value) == (acc, normed)
    assert (found["acc"].n, found["acc"].config["format"]) == (3, "choice")


def test_batching_changes_scores_by_rounding_only(model, setup_of):
    tables = []
    for tokens in (1, 100_000):
        prepared = Choice("choice").prepare([source(*ROWS)], [], setup_of(batch_tokens=tokens))
        tables.append([(s.metric, s.value) for s in prepared.score(model, lambda n: None)])
    assert tables[0] == tables[1]


def test_accuracy_takes_the_sum_and_the_mean_per_byte():
    items = [Item("q", ("ab", "abcdefgh"), 1), Item("q", ("แมว", "cat"), 0)]
    scores = [np.array([-3.0, -4.0]), np.array([-5.0, -2.0])]  # -1.5 and -0.5 a byte; -0.56 and -0.67 a byte
    assert accuracy(scores, items) == (0.0, 1.0)


def test_stderr_of_a_share():
    assert proportion_stderr(0.25, 5) == pytest.approx(math.sqrt(0.25 * 0.75 / 4))
    assert proportion_stderr(1.0, 1) is None


def test_shots_stand_before_the_question_with_their_answers(setup_of):
    setup = setup_of(shots=2)
    prepared = Choice("choice").prepare([source(ROWS[0])], [source(ROWS[2], ROWS[1], ROWS[0])], setup)
    doc = prepared.questions["en", "choice"][0].docs[0]
    assert setup.tokenizer.decode(doc.ids.tolist()) == (
        "Question: Where do fish live?\nAnswer: water\n\nQuestion: 2 + 2?\nAnswer: 4\n\n"
        "Question: What colour is grass?\nAnswer: green"
    )
    assert int(doc.loss_mask.sum()) == len(" green")


def test_a_question_among_its_own_shots_is_refused(setup_of):
    with pytest.raises(UsageError, match="data.jsonl:1: this question is one of the shots"):
        Choice("choice").prepare([source(*ROWS)], [source(*ROWS)], setup_of(shots=1))


def test_too_few_shots_are_refused(setup_of):
    with pytest.raises(UsageError, match="1 shots for en, --shots asks for 2"):
        Choice("choice").prepare([source(ROWS[0])], [source(ROWS[1])], setup_of(shots=2))


def test_eos_is_no_part_of_a_choice(setup_of):
    prepared = Choice("choice").prepare([source(ROWS[0])], [], setup_of())
    assert [int(doc.ids[-1]) for doc in prepared.questions["en", "choice"][0].docs] != [EOS, EOS]


def test_a_question_longer_than_the_model_is_named(setup_of):
    row = ROWS[0] | {"question": "x" * 200}
    with pytest.raises(BadRecord) as caught:
        Choice("choice").prepare([source(ROWS[1], row)], [], setup_of())
    assert caught.value.where == "data.jsonl:2"
    assert "the model takes 160" in caught.value.what


def test_bad_questions_can_be_skipped(model, setup_of):
    from dataclasses import replace

    from seatools.streams.records import Rejects

    setup = replace(setup_of(), rejects=Rejects("skip"))
    bad = [ROWS[0] | {"answer": 7}, {"question": "no choices"}, ROWS[0] | {"question": "x" * 200}]
    prepared = Choice("choice").prepare([source(*ROWS, *bad)], [], setup)
    assert prepared.size == 7
    assert setup.rejects.counts == {"bad label": 1, "bad choices": 1, "too long": 1}


def test_data_without_any_good_question_is_an_error(setup_of):
    from dataclasses import replace

    from seatools.streams.records import Rejects

    with pytest.raises(SeaError, match="no question left to score for choice, en"):
        Choice("choice").prepare([source(ROWS[0] | {"answer": 7})], [], replace(setup_of(), rejects=Rejects("skip")))


def test_unknown_rows_are_refused_with_the_shape_to_make(setup_of):
    with pytest.raises(SeaError, match="no multiple-choice format has these keys: text.*`question`, `choices`"):
        Choice("choice").prepare([source({"text": "x"})], [], setup_of())
