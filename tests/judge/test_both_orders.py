"""Verdicts: what they mean, what the judge reads, and that their numbers are the model's own."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tiny_sentencepiece
import torch
from hypothesis import given
from hypothesis import strategies as st

from seatools.engine.load import load_model
from seatools.judge.both_orders import Question, Verdict, agreement, judge, judging_text, labelled, readings
from seatools.streams.errors import SeaError
from seatools.text.chat import ChatTemplate, load_chat_template
from seatools.text.documents import Documents
from seatools.text.tokenizer import load_tokenizer

CRITERIA = "The better answer is kind."
QUESTIONS = [
    Question("why", "because", "no idea"),
    Question("how much is it", "ten", "it is about eleven I think"),
    Question("ทำไม", "ก", "ข"),
]
odds = st.floats(-20, 20)


def loaded(folder):
    """(model, documents) of a judge."""
    documents = Documents(load_tokenizer(folder), load_chat_template(folder))
    return load_model(folder, device="cpu", dtype=torch.float32), documents


def verdicts(folder, questions=QUESTIONS, *, calibrate=False, **more):
    model, documents = loaded(folder)
    return judge(model, documents, questions, [CRITERIA] * len(questions), pad_id=0, calibrate=calibrate, **more)


# What a verdict means


@pytest.mark.parametrize(
    ("forward", "backward", "agrees", "first_wins"),
    [
        (2.0, -1.0, True, True),  # the first answer wins as A and as B
        (-2.0, 1.0, True, False),
        (2.0, 1.0, False, True),  # whatever stands as A wins
        (-2.0, -1.0, False, False),  # whatever stands as B wins
        (0.0, -1.0, False, False),
        (2.0, 0.0, False, True),
        (0.0, 0.0, False, False),
    ],
)
def test_a_pair_agrees_iff_both_orders_name_the_same_answer(forward, backward, agrees, first_wins):
    verdict = Verdict(forward, backward)
    assert verdict.agrees is agrees
    assert verdict.first_wins is first_wins


@given(odds, odds)
def test_the_margin_is_the_mean_log_odds_of_the_winner(forward, backward):
    verdict = Verdict(forward, backward)
    if verdict.agrees:
        winner = (forward, -backward) if verdict.first_wins else (-forward, backward)
        assert verdict.margin == pytest.approx(sum(winner) / 2)
        assert min(winner) > 0


def test_agreement_is_the_share_of_pairs_that_agree():
    assert agreement([Verdict(1, -1), Verdict(1, 1), Verdict(-1, 1), Verdict(0, 0)]) == 0.5
    assert math.isnan(agreement([]))


# What the judge reads


def test_the_orders_differ_in_the_place_of_the_answers_alone():
    question = Question(" why ", "yes\n", "no")
    expected = "Be kind.\n\nQuestion:\nwhy\n\nAnswer A:\n{}\n\nAnswer B:\n{}\n\nThe better answer is Answer"
    assert judging_text("Be kind.\n", question, swapped=False) == expected.format("yes", "no")
    assert judging_text("Be kind.\n", question, swapped=True) == expected.format("no", "yes")


def test_a_text_is_read_up_to_the_label_and_no_end_is_counted(byte_judge):
    tokenizer = load_tokenizer(byte_judge)
    for doc, label in zip(labelled(Documents(tokenizer), "Answer"), "AB", strict=True):
        assert doc.ids.tolist() == [tokenizer.bos_id, *tokenizer.encode(f"Answer {label}")]
        assert np.flatnonzero(doc.loss_mask).tolist() == [len(doc.ids) - 1]


def test_a_chat_is_read_up_to_the_label_and_no_end_of_turn_is_counted(chat_judge):
    tokenizer = load_tokenizer(chat_judge)
    documents = Documents(tokenizer, load_chat_template(chat_judge))
    for doc, label in zip(labelled(documents, "Answer"), "AB", strict=True):
        assert doc.ids.tolist() == [tokenizer.bos_id, *tokenizer.encode(f"<|user|>Answer<|assistant|>{label}")]
        assert np.flatnonzero(doc.loss_mask).tolist() == [len(doc.ids) - 1]


def test_what_a_template_writes_around_the_label_is_not_counted(byte_judge):
    tokenizer = load_tokenizer(byte_judge)
    source = "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% else %}A: {{ m.content }}!B{% endif %}"
    template = ChatTemplate(source + "{% endfor %}", "t.jinja")
    for doc, label in zip(labelled(Documents(tokenizer, template), "Answer"), "AB", strict=True):
        assert doc.ids.tolist() == [tokenizer.bos_id, *tokenizer.encode(f"AnswerA: {label}")]
        assert np.flatnonzero(doc.loss_mask).tolist() == [len(doc.ids) - 1]


def test_a_label_of_several_tokens_is_counted_whole(tmp_path):
    pieces = [piece for piece in tiny_sentencepiece.PIECES if piece != "▁B"]
    tokenizer = load_tokenizer(tiny_sentencepiece.write_sentencepiece(tmp_path / "t", pieces))
    a, b = labelled(Documents(tokenizer), "abc")
    assert [tokenizer.piece(int(id_)) for id_ in a.ids[a.loss_mask == 1]] == ["▁A"]
    assert [tokenizer.piece(int(id_)) for id_ in b.ids[b.loss_mask == 1]] == ["▁", "B"]


def test_labels_that_are_the_same_tokens_are_refused(tmp_path):
    folder = tiny_sentencepiece.write_sentencepiece(tmp_path / "t", ["▁", "c"], byte_fallback=False)
    with pytest.raises(SeaError, match="cannot tell the labels A and B apart"):
        labelled(Documents(load_tokenizer(folder)), "c")


# The numbers


@pytest.mark.parametrize("name", ["byte_judge", "piece_judge", "chat_judge"])
def test_verdicts_are_the_log_odds_of_the_models_own_logits(name, request):
    folder = request.getfixturevalue(name)
    model, documents = loaded(folder)
    tokenizer = documents.tokenizer
    found = verdicts(folder)
    for question, verdict in zip(QUESTIONS, found, strict=True):
        for swapped, value in ((False, verdict.forward), (True, verdict.backward)):
            text = judging_text(CRITERIA, question, swapped=swapped)
            text = f"<|user|>{text}<|assistant|>" if name == "chat_judge" else text + " "
            a, b = (tokenizer.encode(text + label) for label in "AB")
            assert a[:-1] == b[:-1]
            ids = torch.tensor([[tokenizer.bos_id, *a[:-1]]])
            with torch.no_grad():
                log_probs = model(input_ids=ids).logits[0, -1].log_softmax(-1)
            assert value == pytest.approx(float(log_probs[a[-1]] - log_probs[b[-1]]), abs=1e-5)
    assert len({round(verdict.forward, 3) for verdict in found}) == 3  # the questions matter


def test_verdicts_do_not_depend_on_the_batch(byte_judge):
    for a, b in zip(verdicts(byte_judge, batch_tokens=1), verdicts(byte_judge), strict=True):
        assert (a.forward, a.backward) == pytest.approx((b.forward, b.backward), abs=1e-5)


def test_calibration_takes_out_what_is_said_of_an_answer_against_itself(byte_judge):
    plain = np.array([(v.forward, v.backward) for v in verdicts(byte_judge)])
    nulls = [Question(q.prompt, same, same) for q in QUESTIONS for same in (q.first, q.second)]
    null = np.array([v.forward for v in verdicts(byte_judge, nulls)]).reshape(-1, 2).mean(axis=1, keepdims=True)
    calibrated = np.array([(v.forward, v.backward) for v in verdicts(byte_judge, calibrate=True)])
    np.testing.assert_allclose(calibrated, plain - null, atol=1e-5)
    assert abs(null).max() > 0.01


def test_a_pair_alone_and_among_others_gets_the_same_calibrated_verdict(byte_judge):
    alone = verdicts(byte_judge, QUESTIONS[:1], calibrate=True)[0]
    among = verdicts(byte_judge, calibrate=True)[0]
    assert (alone.forward, alone.backward) == pytest.approx((among.forward, among.backward), abs=1e-5)


def test_the_progress_counts_four_readings_a_pair(byte_judge):
    counted = []
    verdicts(byte_judge, advance=counted.append, batch_tokens=1)
    assert sum(counted) == 4 * len(QUESTIONS)


def test_a_judge_that_gives_no_numbers_is_refused(byte_judge, monkeypatch):
    monkeypatch.setattr(
        "seatools.judge.both_orders.score_documents", lambda _, docs, *__, **___: np.full(len(docs), np.nan)
    )
    with pytest.raises(SeaError, match="not finite"):
        verdicts(byte_judge)


def test_readings_are_both_labels_in_both_orders(byte_judge):
    tokenizer = load_tokenizer(byte_judge)
    texts = [tokenizer.decode(doc.ids.tolist()) for doc in readings(Documents(tokenizer), QUESTIONS[0], CRITERIA)]
    forward, backward = (judging_text(CRITERIA, QUESTIONS[0], swapped=swapped) for swapped in (False, True))
    assert texts == [f"{forward} A", f"{forward} B", f"{backward} A", f"{backward} B"]
