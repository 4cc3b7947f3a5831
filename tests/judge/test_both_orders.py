"""Verdicts: that their numbers are the model's own, and what follows from them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seatools.engine.load import load_model
from seatools.judge.both_orders import pair_log_odds, reading_docs, readings
from seatools.judge.instructions import InstructionBook
from seatools.judge.judging_text import Question, comparison_text
from seatools.judge.labels import comparison_labels
from seatools.judge.verdict import TIE, Verdict
from seatools.streams.errors import SeaError
from seatools.text.chat import load_chat_template
from seatools.text.documents import Documents
from seatools.text.tokenizer import load_tokenizer

BOOK = InstructionBook()
QUESTIONS = [
    Question("why", "because", "no idea"),
    Question("how much is it", "ten", "it is about eleven I think"),
    Question("ทำไม", "ก", "ข"),
]
WORDS = [BOOK.of("en"), BOOK.of("id"), BOOK.of("en")]
odds = st.floats(-20, 20)


def loaded(folder):
    """(model, documents) of a judge."""
    documents = Documents(load_tokenizer(folder), load_chat_template(folder))
    return load_model(folder, device="cpu", dtype=torch.float32), documents


def log_odds(folder, questions=QUESTIONS, words=WORDS, *, calibrate=False, **more):
    model, documents = loaded(folder)
    labels, _ = comparison_labels(documents, words)
    return pair_log_odds(model, documents, questions, words, labels, calibrate=calibrate, **more)


# What a verdict means


@pytest.mark.parametrize(
    ("forward", "backward", "agrees", "first_wins", "tie"),
    [
        (2.0, -1.0, True, True, False),  # the first answer wins as A and as B
        (-2.0, 1.0, True, False, False),
        (2.0, 1.0, False, True, False),  # whatever stands as A wins
        (-2.0, -1.0, False, False, False),  # whatever stands as B wins
        (0.0, -1.0, False, True, True),
        (2.0, TIE / 2, False, True, True),
        (0.0, 0.0, False, False, True),
    ],
)
def test_a_pair_agrees_iff_both_orders_name_the_same_answer(forward, backward, agrees, first_wins, tie):
    verdict = Verdict(forward, backward)
    assert (verdict.agrees, verdict.first_wins, verdict.is_tie) == (agrees, first_wins, tie)


@given(odds, odds)
def test_the_margin_is_the_mean_log_odds_of_the_winner_and_turns_with_the_pair(forward, backward):
    verdict, turned = Verdict(forward, backward), Verdict(backward, forward)
    assert (turned.agrees, turned.margin, turned.signed_margin) == (
        verdict.agrees, verdict.margin, -verdict.signed_margin
    )  # fmt: skip
    if verdict.agrees:
        winner = (forward, -backward) if verdict.first_wins else (-forward, backward)
        assert verdict.margin == pytest.approx(sum(winner) / 2)
        assert min(winner) > 0
        assert turned.first_wins is not verdict.first_wins


# The numbers


@pytest.mark.parametrize("name", ["byte_judge", "piece_judge", "chat_judge"])
def test_log_odds_are_those_of_the_models_own_logits(name, request):
    folder = request.getfixturevalue(name)
    model, documents = loaded(folder)
    tokenizer, chat = documents.tokenizer, documents.template is not None
    labels, single = comparison_labels(documents, WORDS)
    assert (labels, single) == (("A", "B"), True)
    found = log_odds(folder)
    for question, words, row in zip(QUESTIONS, WORDS, found, strict=True):
        for shown, value in zip((question, question.swapped), row, strict=True):
            text = comparison_text(words, shown, labels, chat=chat)
            text = f"<|user|>{text}<|assistant|>" if chat else text + " "
            a, b = (tokenizer.encode(text + label) for label in labels)
            assert a[:-1] == b[:-1]
            ids = torch.tensor([[tokenizer.bos_id, *a[:-1]]])
            with torch.no_grad():
                log_probs = model(input_ids=ids).logits[0, -1].double().log_softmax(-1)
            assert value == pytest.approx(float(log_probs[a[-1]] - log_probs[b[-1]]), abs=1e-5)
    assert len(np.unique(found[:, 0].round(3))) == len(QUESTIONS)  # the questions matter
    assert abs(found[:, 0] - found[:, 1]).max() > 1e-3  # and the orders


def test_log_odds_turn_with_the_pair_and_do_not_depend_on_the_batch_or_the_others(byte_judge):
    straight = log_odds(byte_judge, calibrate=True)
    turned = log_odds(byte_judge, [question.swapped for question in QUESTIONS], calibrate=True)
    np.testing.assert_allclose(turned, straight[:, ::-1], atol=1e-5)
    np.testing.assert_allclose(log_odds(byte_judge, calibrate=True, batch_tokens=64), straight, atol=1e-5)
    alone = log_odds(byte_judge, QUESTIONS[1:2], WORDS[1:2], calibrate=True)
    np.testing.assert_allclose(alone, straight[1:2], atol=1e-5)


def test_calibration_takes_out_what_is_said_of_an_answer_against_itself(byte_judge):
    nulls = [Question(q.prompt, same, same) for q in QUESTIONS for same in (q.first, q.second)]
    words = [own for own in WORDS for _ in range(2)]
    null = log_odds(byte_judge, nulls, words)[:, 0].reshape(-1, 2).mean(axis=1, keepdims=True)
    np.testing.assert_allclose(log_odds(byte_judge, calibrate=True), log_odds(byte_judge) - null, atol=1e-5)
    assert abs(null).max() > 0.01


def test_a_judge_that_gives_no_numbers_is_refused(byte_judge, monkeypatch):
    monkeypatch.setattr("seatools.judge.both_orders.prefix_scores", lambda _, docs, **__: np.full(len(docs), math.nan))
    with pytest.raises(SeaError, match="not finite"):
        log_odds(byte_judge)


def test_readings_are_both_labels_in_both_orders_and_each_answer_against_itself(byte_judge):
    documents = Documents(load_tokenizer(byte_judge))
    question, labels = QUESTIONS[0], ("A", "B")
    docs = reading_docs(documents, [question], WORDS[:1], labels, calibrate=True)
    shown = readings(question, calibrate=True)
    assert [(one.first, one.second) for one in shown] == [
        ("because", "no idea"), ("no idea", "because"), ("because", "because"), ("no idea", "no idea"),
    ]  # fmt: skip
    texts = [comparison_text(WORDS[0], one, labels, chat=False) for one in shown]
    expected = [f"{text} {label}" for text in texts for label in labels]
    assert [documents.tokenizer.decode(doc.ids.tolist()) for doc in docs] == expected
