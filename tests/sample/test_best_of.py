"""Best of M: the mean log-probability, checked against a plain forward pass, and what is kept."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from said_answers import said

from seatools.engine.generator import OwnLoop
from seatools.sample.best_of import best_answers, mean_log_probs
from seatools.text.tokenizer import load_tokenizer

TEXTS = ["abc", "the cat", "zz"]


@pytest.fixture(scope="module")
def loaded(byte_model):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(byte_model).eval()


def plain(model, prompt, answer) -> float:
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt, *answer]])).logits[0].double().log_softmax(-1)
    places = range(len(prompt) - 1, len(prompt) + len(answer) - 1)
    return sum(float(logits[place, token]) for place, token in zip(places, answer, strict=True)) / len(answer)


def test_the_score_is_the_mean_over_the_tokens_of_the_answer(loaded):
    pairs = [([1, 5, 6], [7, 8, 9, 9]), ([1, 5, 6], [7]), ([1, 5, 6], []), ([1, 200], [3, 3, 3])]
    found = mean_log_probs(loaded, pairs)
    assert found[2] is None
    for (prompt, answer), score in zip(pairs, found, strict=True):
        if answer:
            assert score == pytest.approx(plain(loaded, prompt, answer), abs=1e-4)
    assert mean_log_probs(loaded, [([1], [])]) == [None]


def test_the_best_of_the_very_answers_that_n_makes_are_kept_with_their_scores(sea, byte_model, loaded):
    given_ = b"".join(json.dumps({"prompt": text}).encode() + b"\n" for text in TEXTS)
    run = ["--max-new-tokens", 6, "--stop", "~", "-q"]
    every = [json.loads(line) for line in sea("sample", byte_model, "-n", 5, *run, stdin=given_).stdout.splitlines()]
    best = sea("sample", byte_model, "-n", 2, "--best-of", 5, *run, stdin=given_)
    tokenizer = load_tokenizer(byte_model)
    for text, all_five, kept in zip(TEXTS, every, map(json.loads, best.stdout.splitlines()), strict=True):
        assert kept["sampling"]["best_of"] == 5
        scores = kept["sampling"]["scores"]
        assert scores == sorted(scores, reverse=True) and len(scores) == len(kept["responses"]) == 2
        assert len(kept["sampling"]["finish"]) == 2
        prompt = [tokenizer.bos_id, *tokenizer.encode(text)]
        whole = [answer for answer in all_five["responses"] if "\ufffd" not in answer and answer]
        wanted = {answer: plain(loaded, prompt, tokenizer.encode(answer)) for answer in whole}
        for answer, score in zip(kept["responses"], scores, strict=True):
            assert answer in all_five["responses"]
            if answer in wanted and len(tokenizer.encode(answer)) == 6:
                assert score == pytest.approx(wanted[answer], abs=1e-4)
        sure = [score for answer, score in wanted.items() if len(tokenizer.encode(answer)) == 6]
        assert not sure or scores[0] >= max(sure) - 1e-4


@given(data=st.data())
def test_kept_are_the_likeliest_of_different_texts(data):
    texts = data.draw(st.lists(st.sampled_from(["a", "b", "c", ""]), min_size=1, max_size=7))
    scores = [data.draw(st.one_of(st.none(), st.floats(-9, 0))) if text else None for text in texts]
    num = data.draw(st.integers(1, len(texts)))
    kept = best_answers(texts, scores, num)
    assert len(kept) == len(set(kept)) == num
    assert len({texts[k] for k in kept}) == min(num, len(set(texts)))
    value = [float("-inf") if score is None else score for score in scores]
    first = kept[: len({texts[k] for k in kept})]
    assert [value[k] for k in first] == sorted((value[k] for k in first), reverse=True)
    assert all(value[k] >= value[other] for k in first for other in range(len(texts)) if texts[other] == texts[k])
    left = [k for k in range(len(texts)) if texts[k] not in {texts[k] for k in kept}]
    assert all(value[k] >= value[other] for k in kept for other in left)


def test_an_empty_answer_comes_last_without_a_score(sea, byte_model, monkeypatch):
    from seatools.engine.stop_strings import Generated

    answers = iter([Generated([], "stop", ""), Generated([40, 41], "stop", "xy")])
    monkeypatch.setattr(OwnLoop, "run", lambda self, group, _: [next(answers) for _ in group])
    result = sea("sample", byte_model, "-n", 2, "--best-of", 2, "--max-new-tokens", 4, stdin=b'{"prompt": "a"}')
    record = json.loads(result.stdout)
    assert record["responses"] == ["xy", ""]
    assert record["sampling"]["scores"][1] is None
    assert "1 empty" in result.stderr


def test_probabilities_that_are_not_finite_stop_the_run(sea, byte_model, monkeypatch):
    monkeypatch.setattr(OwnLoop, "run", said(lambda *_: "x"))
    monkeypatch.setattr(
        "seatools.engine.prefix_scores.prefix_scores", lambda model, docs, **_: torch.full((len(docs),), float("nan"))
    )
    result = sea("sample", byte_model, "-n", 1, "--best-of", 2, "--max-new-tokens", 4, stdin=b'{"prompt": "a"}')
    assert result.code == 1 and "not finite" in result.stderr and result.stdout == b""
