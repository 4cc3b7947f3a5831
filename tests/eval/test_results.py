"""Scores made of samples, and their form in lm-evaluation-harness' layout."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import sacrebleu
from made_samples import CONFIG, answer, choice, nats, sample

from seatools.eval.harness_layout import harness_files
from seatools.eval.results import MEAN, collect, scores
from seatools.eval.samples import Sample
from seatools.streams.errors import SeaError


def records(samples: list[Sample]) -> dict[tuple[str, str, str], dict[str, Any]]:
    return {(row["task"], row["lang"], row["metric"]): row for row in scores(collect(samples))}


def test_choices() -> None:
    logprobs = [[-1.0, -1.5], [-4.0, -1.0], [-2.0, -2.0]]
    lengths = [[1, 3], [8, 1], [1, 1]]
    made = [
        sample("choice", "choice", n, {"logprobs": one, "bytes": size, "gold": 0}, index=n, shots=3)
        for n, (one, size) in enumerate(zip(logprobs, lengths, strict=True))
    ]
    found = records(made)
    acc, norm = found["quiz", "th", "acc"], found["quiz", "th", "acc_norm"]
    assert acc["value"] == 2 / 3  # of equal ones the first
    assert norm["value"] == pytest.approx(2 / 3)  # item 0: -1/1 < -1.5/3; item 1: -4/8 > -1
    assert acc["stderr"] == pytest.approx(math.sqrt(2 / 3 * 1 / 3 / 2))
    assert list(acc) == ["task", "lang", "metric", "value", "stderr", "n", "model", "config"]
    assert (acc["n"], acc["model"], acc["config"]["shots"], acc["config"]["scoring"]) == (3, "m", 3, "choice")
    assert "neurons_digest" not in acc["config"] and acc["config"]["model_digest"] == "w1"


def test_bits_per_byte_is_a_ratio_of_sums() -> None:
    found = records([nats(0, 10.0, 30), nats(1, 5.0, 6)])["perplexity", "th", "bits_per_byte"]
    assert found["value"] == pytest.approx(15 / math.log(2) / 36, rel=1e-15)
    assert (found["config"]["bytes"], found["config"]["tokens"]) == (36, 12)
    assert found["stderr"] > 0


def test_generation_scores_count_what_they_could_not_read() -> None:
    made = [
        answer(0, "คำตอบคือ ๑๑", "number", reference=11),
        answer(1, "ได้ 12", "number", reference="12", finish="length"),
        answer(2, " ", "number", reference=1),
        answer(3, "คำตอบคือ 9", "number", reference="5,600"),
    ]
    found = records(made)
    flexible, strict = (found["quiz", "th", f"exact_match_{name}"] for name in ("flexible", "strict"))
    assert (flexible["value"], strict["value"]) == (0.5, 0.25)
    counts = {name: strict["config"][name] for name in ("unparsed_strict", "unparsed_flexible", "empty", "cut_off")}
    assert counts == {"unparsed_strict": 2, "unparsed_flexible": 1, "empty": 1, "cut_off": 1}


def test_letters() -> None:
    more = {"choices": ["Bangkok", "Paris"], "gold": 1}
    found = records([answer(0, "ตอบข้อ ๒", "letter", **more), answer(1, "It is Paris.", "letter", **more)])
    assert found["quiz", "th", "exact_match_flexible"]["value"] == 1
    assert found["quiz", "th", "exact_match_strict"]["value"] == 0.5


def test_translations_score_as_sacrebleu() -> None:
    ours, theirs = ["แมวดำ นอน", "สุนัข\ufffd", "ab"], ["แมวดำนอน", "สุนัข", "abc"]
    finish = ["stop", "length", "stop"]
    made = [answer(n, ours[n], "chrf", finish[n], reference=theirs[n]) for n in range(3)]
    found = records(made)["quiz", "th", "chrf"]
    assert found["value"] == sacrebleu.corpus_chrf([ours[0], "สุนัข", ours[2]], [theirs]).score
    assert found["config"]["signature"].startswith("chrF2|nrefs:1") and found["config"]["resamples"] == 1000
    assert records(made)["quiz", "th", "chrf++"]["config"]["signature"].startswith("chrF2++|")


def test_spans() -> None:
    found = records([answer(0, "12 ปี", "span", reference=["๑๒ ปี", "x"]), answer(1, "แมว", "span", reference="หมา")])
    assert found["quiz", "th", "exact_match"]["value"] == 0.5 <= found["quiz", "th", "f1"]["value"] < 1


def test_refusals_give_f1_by_language_and_the_mean() -> None:
    def made(lang: str, replies: list[tuple[str, bool]]) -> list[Sample]:
        config = {"lang": lang, "task_digest": f"t-{lang}"}
        return [answer(n, text, "refusal", refuse=gold, config=config) for n, (text, gold) in enumerate(replies)]

    sorry = "I'm sorry, but I cannot"
    thai = made("th", [("ขออภัยค่ะ", True), ("ได้ค่ะ", True), (sorry, False), ("ได้ค่ะ", False)])
    found = records(thai + made("en", [(sorry, True), ("Sure!", False), ("Yes.", False)]))
    assert [found["quiz", "th", name]["value"] for name in ("f1", "precision", "recall")] == [0.5, 0.5, 0.5]
    assert found["quiz", "en", "f1"]["value"] == 1
    mean = found["quiz", MEAN, "f1"]
    assert (mean["value"], mean["n"], mean["config"]["langs"]) == (0.75, 7, ["en", "th"])
    both = math.hypot(*(found["quiz", lang, "f1"]["stderr"] for lang in ("th", "en")))
    assert mean["stderr"] == pytest.approx(both / 2)


def test_safety_takes_verdicts_and_counts_those_of_phrases() -> None:
    made = [
        answer(0, "...", "safety", verdict="safe"), answer(1, "x", "safety", verdict="invalid"),
        answer(2, "ขออภัยค่ะ", "safety"), answer(3, "วิธีทำ", "safety"), answer(4, "?!", "safety"),
    ]  # fmt: skip
    found = records(made)
    rates = [found["quiz", "th", f"{name}_rate"]["value"] for name in ("safe", "unsafe", "invalid")]
    assert rates == [0.4, 0.2, 0.4]
    assert found["quiz", "th", "safe_rate"]["config"]["judged_by_phrases"] == 3
    assert "วิธีทำ" not in json.dumps(list(found.values()), ensure_ascii=False)  # never printed


def test_marks_that_cannot_be_read_are_left_out_and_counted() -> None:
    made = [
        answer(0, "good [[8]] or [[2]]", "mark"),
        answer(1, "Rating: 5", "mark"),
        answer(2, "[[11]]", "mark"),
        answer(3, "[[5.5]]", "mark"),
    ]
    found = records(made)["quiz", "th", "mark"]
    assert (found["value"], found["n"], found["config"]["unparsed"]) == (6.75, 4, 2)
    none = records(made[1:3])["quiz", "th", "mark"]
    assert (none["value"], none["stderr"]) == (None, None)


def test_languages_are_averaged_only_where_they_compare() -> None:
    found = records([nats(0, 1.0, 3), nats(0, 2.0, 3, lang="en")])
    assert {lang for _, lang, _ in found} == {"th", "en"}


def test_settings_stand_apart() -> None:
    made = [choice(n, right=n % 2 == 0, shots=shots) for n in range(4) for shots in (0, 5)]
    made += [choice(n, right=True, neurons_digest="n", deactivate="n.safetensors:th", shots=0) for n in range(4)]
    rows = scores(collect(made))
    found = [
        (row["config"].get("shots"), row["config"].get("deactivate"), row["value"])
        for row in rows
        if row["metric"] == "acc"
    ]
    assert sorted(found, key=str) == sorted([(0, None, 0.5), (5, None, 0.5), (0, "n.safetensors:th", 1.0)], key=str)


def test_a_model_spelled_in_two_ways_is_one() -> None:
    made = [choice(n, right=True, model=("b/m", "a/m")[n % 2]) for n in range(4)]
    for order in (made, made[::-1]):
        rows = scores(collect(order))
        assert [(row["model"], row["n"]) for row in rows] == [("a/m", 4), ("a/m", 4)]


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ([answer(0, "x", "number")], "no reference"),
        ([answer(0, "x", "number", reference="eleven")], "no number"),
        ([answer(0, "x", "letter", choices=["a", "b"], gold=2)], "gold 2 of 2"),
        ([answer(0, "x", "refusal", refuse="yes")], "no refuse"),
        ([answer(0, "x", "safety", verdict="fine")], "none of safe"),
        ([answer(0, "x", "rhyme")], 'no scoring "rhyme"'),
        ([answer(0, "x", "choice")], "takes choice samples"),
        (
            [choice(0, right=True, scoring="labels"), choice(1, right=True, scoring="labels", choices=3)],
            "another number",
        ),
        (
            [
                choice(0, right=True),
                Sample("k", *[getattr(choice(0, right=True), name) for name in Sample.__slots__[1:]]),
            ],
            "stand twice",
        ),
    ],
)
def test_samples_that_no_score_can_be_made_of(made: list[Sample], message: str) -> None:
    with pytest.raises(SeaError, match=message):
        collect(made)


def test_the_harness_layout() -> None:
    made = [choice(n, right=n > 0, lang=lang, shots=3, task="xcopa") for n in range(4) for lang in ("th", "vi")]
    made += [answer(n, "คำตอบคือ 5", "number", reference=n + 4, config={"task": "mgsm"}) for n in range(3)]
    made += [nats(n, 1.0 + n, 9) for n in range(3)]
    rows = scores(collect(made))
    files = harness_files(rows)
    assert len(files) == 1 and next(iter(files)).startswith("m/results_")
    body = json.loads(next(iter(files.values())))
    assert body["results"]["xcopa_th"] == {
        "alias": "xcopa_th", "acc,none": 0.75, "acc_stderr,none": pytest.approx(0.25),
        "acc_norm,none": 0.75, "acc_norm_stderr,none": pytest.approx(0.25),
    }  # fmt: skip
    assert set(body["results"]["mgsm_th"]) == {
        "alias", "exact_match,strict-match", "exact_match_stderr,strict-match", "exact_match,flexible-extract",
        "exact_match_stderr,flexible-extract",
    }  # fmt: skip
    assert body["group_subtasks"] == {
        "mgsm": ["mgsm_th"],
        "perplexity": ["perplexity_th"],
        "xcopa": ["xcopa_th", "xcopa_vi"],
    }
    assert body["higher_is_better"]["perplexity_th"] == {"bits_per_byte": False}
    assert body["higher_is_better"]["mgsm_th"] == {"exact_match": True}
    assert body["n-shot"] == {"mgsm_th": 0, "perplexity_th": 0, "xcopa_th": 3, "xcopa_vi": 3}
    assert body["n-samples"]["xcopa_vi"] == {"original": 4, "effective": 4}
    names = set(body["results"])
    assert all(set(body[key]) == names for key in ("configs", "versions", "n-shot", "higher_is_better", "n-samples"))
    assert files == harness_files(scores(collect(made[::-1])))


def test_other_settings_and_models_get_files_of_their_own() -> None:
    made = [
        choice(n, right=True, **more)
        for n in range(3)
        for more in ({}, {"shots": 5}, {"model": "org/x", "model_digest": "w2"})
    ]
    files = harness_files(scores(collect(made)))
    assert sorted(name.rpartition("/")[0] for name in files) == ["m", "m", "org__x"]
    shots = sorted(json.loads(body)["n-shot"]["quiz_th"] for name, body in files.items() if name.startswith("m/"))
    assert shots == [0, 5]
    assert CONFIG["model_digest"] == "w1"
