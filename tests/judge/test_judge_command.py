"""`sea judge` from the command line: real judges, judges rigged to prefer an answer or a place, and bad input."""

from __future__ import annotations

import json
import os
import stat
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_llama import write_jsonl

from seatools.engine.load import load_model
from seatools.judge.both_orders import pair_log_odds
from seatools.judge.instructions import InstructionBook
from seatools.judge.pairs import Comparison
from seatools.judge.verdict import Verdict
from seatools.streams.records import Record
from seatools.text.documents import Documents
from seatools.text.tokenizer import load_tokenizer

CRITERIA = "Be kind."
WORDS = ["kaya", "ngata", "lor", "inay", "anak", "ulan", "puno", "isda", "bata", "aso", "pusa", "ibon"]


def records(output: bytes) -> list[dict]:
    return [json.loads(line) for line in output.splitlines()]


def lines(*values: object) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


# The good answer is the first one and the second one by turns.
GIVEN = [
    {"prompt": word, "responses": ["good", "bad"] if n % 2 else ["bad", "good"], "lang": ("th", "tl")[n % 3 == 0]}
    for n, word in enumerate(WORDS)
]


@pytest.fixture
def criteria(tmp_path) -> Path:
    folder = tmp_path / "criteria"
    folder.mkdir()
    (folder / "criteria.txt").write_text(CRITERIA)
    return folder / "criteria.txt"


# A real judge


def test_pairs_are_kept_iff_both_orders_agree(sea, byte_judge, criteria):
    result = sea("judge", byte_judge, "--criteria", criteria, stdin=lines(*GIVEN))
    assert result.code == 0, result.stderr
    model = load_model(byte_judge, device="cpu", dtype=torch.float32)
    questions = [Comparison(Record(b"", value, "", 0), 0, 1).question for value in GIVEN]
    book = InstructionBook([str(criteria)])
    words = [book.of(value["lang"]) for value in GIVEN]
    odds = pair_log_odds(model, Documents(load_tokenizer(byte_judge)), questions, words, ("A", "B"), calibrate=True)
    verdicts = [Verdict(*row) for row in odds.tolist()]
    expected = [(value, verdict) for value, verdict in zip(GIVEN, verdicts, strict=True) if verdict.agrees]
    assert 0 < len(expected) < len(GIVEN)
    for found, (value, verdict) in zip(records(result.stdout), expected, strict=True):
        answers = value["responses"] if verdict.forward > 0 else value["responses"][::-1]
        assert (found["prompt"], found["lang"]) == (value["prompt"], value["lang"])
        assert (found["chosen"], found["rejected"]) == tuple(answers)
        assert found["margin"] == pytest.approx(abs(verdict.forward - verdict.backward) / 2, abs=1e-4)
        assert found["judgements"]["forward"] == pytest.approx(verdict.forward, abs=1e-4)
        assert found["judgements"]["backward"] == pytest.approx(verdict.backward, abs=1e-4)


def test_an_order_that_is_swapped_swaps_the_answers_and_nothing_else(sea, byte_judge, criteria):
    turned = [{**value, "responses": value["responses"][::-1]} for value in GIVEN]
    one, other = (
        sea("judge", byte_judge, "--criteria", criteria, "-q", stdin=lines(*given)).stdout for given in (GIVEN, turned)
    )
    for straight, swapped in zip(records(one), records(other), strict=True):
        assert [straight[key] for key in ("prompt", "chosen", "rejected")] == [
            swapped[key] for key in ("prompt", "chosen", "rejected")
        ]
        assert straight["margin"] == pytest.approx(swapped["margin"], abs=2e-4)
        assert straight["judgements"]["forward"] == pytest.approx(swapped["judgements"]["backward"], abs=2e-4)


def test_preferences_through_a_chat_template_are_messages(sea, chat_judge, criteria):
    given = [{**value, "prompt": [{"role": "user", "content": value["prompt"]}]} for value in GIVEN]
    result = sea("judge", chat_judge, "--criteria", criteria, stdin=lines(*given))
    assert result.code == 0, result.stderr
    found = records(result.stdout)
    assert found
    for value in found:
        assert isinstance(value["prompt"], list)
        assert {turn["role"] for turn in (*value["chosen"], *value["rejected"])} == {"assistant"}


def test_the_manifest_stands_beside_the_output(sea, byte_judge, criteria, tmp_path):
    out = tmp_path / "out.jsonl"
    given = lines(*GIVEN, {"prompt": "x", "responses": ["a"]})
    result = sea("judge", byte_judge, "--criteria", criteria, "-o", out, stdin=given)
    assert result.code == 0, result.stderr
    assert result.stdout == b""
    manifest = json.loads(Path(f"{out}.manifest.json").read_text())
    assert manifest["command"] == "judge"
    assert manifest["options"]["criteria"]["th"]["criteria"] == CRITERIA
    assert manifest["options"]["calibrate"] is True
    assert manifest["rejects"]["one answer"] == 1
    lost = [manifest["rejects"].get(reason, 0) for reason in ("orders disagree", "tie")]
    assert sum(lost) == len(GIVEN) - len(records(out.read_bytes()))
    assert [row["path"] for row in manifest["inputs"]] == [str(byte_judge), "-", str(criteria)]
    assert sum(row["pairs"] for row in manifest["counts"].values()) == len(GIVEN)
    assert sum(row["kept"] for row in manifest["counts"].values()) == len(records(out.read_bytes()))


def test_the_default_criteria_fit_a_small_judge(sea, byte_judge):
    assert sea("judge", byte_judge, stdin=lines(*GIVEN)).code == 0


# Rigged judges


def test_a_judge_of_quality_keeps_all_and_chooses_the_good(sea, byte_judge, rigged):
    rigged(quality=2)
    result = sea("judge", byte_judge, stdin=lines(*GIVEN))
    assert [(value["chosen"], value["rejected"], value["margin"]) for value in records(result.stdout)] == [
        ("good", "bad", 2.0)
    ] * len(GIVEN)
    assert "warning" not in result.stderr


@pytest.mark.parametrize("bias", [5, -5])
@pytest.mark.parametrize("quality", [0, 1])
def test_a_judge_that_always_prefers_one_label_keeps_nothing(sea, byte_judge, rigged, tmp_path, bias, quality):
    rigged(bias=bias, quality=quality)
    out = tmp_path / "out.jsonl"
    result = sea("judge", byte_judge, "--no-calibrate", "-o", out, stdin=lines(*GIVEN))
    assert result.code == 0
    assert out.read_bytes() == b""
    assert "no pair is kept" in result.stderr
    assert Path(f"{out}.manifest.json").exists()


def test_calibration_finds_the_quality_behind_a_preferred_label(sea, byte_judge, rigged):
    rigged(bias=5, quality=1)
    result = sea("judge", byte_judge, stdin=lines(*GIVEN))
    assert [(value["chosen"], value["margin"]) for value in records(result.stdout)] == [("good", 1.0)] * len(GIVEN)


def test_calibration_finds_nothing_behind_a_label_alone(sea, byte_judge, rigged):
    rigged(bias=0.1)  # no exact binary fraction, so the mean is off by rounding
    result = sea("judge", byte_judge, stdin=lines(*GIVEN))
    assert result.code == 0
    assert result.stdout == b""


def test_agreement_is_reported_per_language(sea, byte_judge, rigged, tmp_path):
    rigged(quality=1)
    given = [*GIVEN, {"prompt": "x", "responses": ["good", "bad"]}]
    out = tmp_path / "out.jsonl"
    result = sea("judge", byte_judge, "-o", out, stdin=lines(*given))
    for line in ("th: 8 of 8 pairs kept, the orders agree on 100 %", "tl: 4 of 4 pairs kept", "und: 1 of 1 pairs kept"):
        assert line in result.stderr
    counts = json.loads(Path(f"{out}.manifest.json").read_text())["counts"]
    assert counts["th"] == {
        "pairs": 8, "kept": 8, "no_verdict": 0, "ties": 0, "agreement": 1.0, "agreement_low": 0.6756,
        "agreement_high": 1.0, "first_label": 0.5,
    }  # fmt: skip
    assert set(counts) == {"th", "tl", "und"}


@pytest.mark.parametrize(("rig", "share"), [({"quality": 1}, 0.5), ({"bias": 5}, 1.0), ({"bias": -5}, 0.0)])
def test_the_share_of_the_first_label_counts_both_orders(sea, byte_judge, rigged, tmp_path, rig, share):
    rigged(**rig)
    given = lines(*({"prompt": word, "responses": ["good", "bad"]} for word in WORDS))
    out = tmp_path / "out.jsonl"
    assert sea("judge", byte_judge, "--no-calibrate", "-o", out, stdin=given).code == 0
    assert json.loads(Path(f"{out}.manifest.json").read_text())["counts"]["und"]["first_label"] == share


def test_agreement_near_chance_is_warned_of(sea, byte_judge, monkeypatch):
    """Half of the pairs agree in th, all of them in tl."""

    def score(model, docs, **_):
        odds = np.array([(1, -1), (1, 1)] * 4 + [(1, -1)] * 4, float)
        return np.stack([odds, np.zeros_like(odds)], axis=-1).reshape(-1)

    monkeypatch.setattr("seatools.judge.both_orders.prefix_scores", score)
    given = [{"prompt": word, "responses": ["a", "b"], "lang": "th" if n < 8 else "tl"} for n, word in enumerate(WORDS)]
    result = sea("judge", byte_judge, "--no-calibrate", "--quiet", stdin=lines(*given))
    assert result.code == 0
    assert len(records(result.stdout)) == 8
    assert result.stderr == "warning: th: agreement 50 % does not clearly beat guessing (50 %)\n"


def test_of_more_answers_every_pair_is_judged(sea, byte_judge, rigged):
    rigged(quality=1)
    given = lines({"prompt": "x", "responses": ["bad", "worse", "good"]})
    result = sea("judge", byte_judge, "--no-calibrate", stdin=given)
    found = [(value["chosen"], value["rejected"], value["judgements"]) for value in records(result.stdout)]
    assert [(chosen, rejected) for chosen, rejected, _ in found] == [("good", "bad"), ("good", "worse")]
    assert [(how["first"], how["second"]) for *_, how in found] == [(0, 2), (1, 2)]


# Bad input


def test_what_cannot_be_compared_is_counted_and_never_judged(sea, byte_judge, rigged):
    rigged(quality=1)
    unusable = [["good"], [], ["same", "same "], ["", "good"]]  # the last is one answer, too
    given = lines(*GIVEN, *({"prompt": "x", "responses": responses} for responses in unusable))
    result = sea("judge", byte_judge, stdin=given)
    assert result.code == 0, result.stderr
    assert len(records(result.stdout)) == len(GIVEN)
    for line in ("3 (one answer)", "1 (identical answers)", "1 (empty answer)"):
        assert f"not kept: {line}" in result.stderr


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (b"", "no records"),
        (
            lines({"prompt": "x", "responses": ["a"]}, {"prompt": "x", "responses": ["a", "a"]}),
            "identical answers 1, one",
        ),
        (b"bad\n", "broken json 1"),
    ],
)
def test_nothing_to_judge_fails_before_a_model_is_loaded(sea, byte_judge, monkeypatch, tmp_path, given, words):
    monkeypatch.setattr("seatools.engine.load.load_model", lambda *_, **__: pytest.fail("loaded"))
    out = tmp_path / "out.jsonl"
    result = sea("judge", byte_judge, "--on-error", "skip", "-o", out, stdin=given)
    assert result.code == 1
    assert "stdin: no pair of answers to judge" in result.stderr
    assert words in result.stderr
    assert not out.exists()


BAD = {
    "no prompt": (b'{"responses": ["a", "b"]}', '"prompt" is missing'),
    "empty prompt": (b'{"prompt": "", "responses": ["a", "b"]}', "empty"),
    "prompt of another type": (b'{"prompt": {"a": 1}, "responses": ["a", "b"]}', "not a string"),
    "no responses": (b'{"prompt": "x"}', "not a list of strings"),
    "responses of another type": (b'{"prompt": "x", "responses": ["a", 2]}', "not a list of strings"),
    "one response, no list": (b'{"prompt": "x", "responses": "a"}', "not a list of strings"),
    "not JSON": (b"abc", "broken JSON"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_record_stops_the_run_and_is_named(sea, byte_judge, tmp_path, name):
    bad, words = BAD[name]
    (tmp_path / "r.jsonl").write_bytes(lines(GIVEN[0]) + bad + b"\n")
    result = sea("judge", byte_judge, tmp_path / "r.jsonl", "-o", tmp_path / "out.jsonl")
    assert result.code == 1
    assert "r.jsonl:2: " in result.stderr
    assert words in result.stderr
    assert os.listdir(tmp_path) == ["r.jsonl"]


def test_bad_records_are_kept_with_their_reasons(sea, byte_judge, tmp_path, rigged):
    rigged(quality=1)
    bad = [line for line, _ in BAD.values()]
    (tmp_path / "r.jsonl").write_bytes(b"\n".join([*bad, *lines(*GIVEN).splitlines()]))
    out = tmp_path / "out.jsonl"
    result = sea("judge", byte_judge, tmp_path / "r.jsonl", "-o", out, "--on-error", "quarantine")
    assert result.code == 0, result.stderr
    assert len(records(out.read_bytes())) == len(GIVEN)
    assert {row["raw"].encode() for row in records(Path(f"{out}.quarantine.jsonl").read_bytes())} == set(bad)
    manifest = json.loads(Path(f"{out}.manifest.json").read_text())
    assert sum(manifest["rejects"].values()) == len(BAD)


def test_a_pair_beyond_the_judges_positions_is_counted_and_said(sea, byte_judge, tmp_path):
    out = tmp_path / "out.jsonl"
    given = lines(*GIVEN, {"prompt": "x", "responses": ["a" * 1400, "b"], "lang": "th"})
    result = sea("judge", byte_judge, "-o", out, stdin=given)
    assert result.code == 0, result.stderr
    assert "not kept: 1 (longer than the judge's 1536 positions)" in result.stderr
    rejects = json.loads(Path(f"{out}.manifest.json").read_text())["rejects"]
    assert rejects["longer than the judge's 1536 positions"] == 1


def test_a_criteria_file_that_says_nothing_fails(sea, byte_judge, tmp_path):
    (tmp_path / "c.txt").write_text("\n")
    result = sea("judge", byte_judge, "--criteria", tmp_path / "c.txt", stdin=lines(*GIVEN))
    assert result.code == 1
    assert "c.txt" in result.stderr


def test_an_output_that_is_there_or_is_the_input_is_refused(sea, byte_judge, tmp_path):
    given, out = write_jsonl(tmp_path / "r.jsonl", GIVEN), tmp_path / "out.jsonl"
    out.write_bytes(b"precious")
    before = given.read_bytes()
    assert sea("judge", byte_judge, given, "-o", out).code == 2
    assert sea("judge", byte_judge, given, "-o", given, "--force").code == 2
    assert (out.read_bytes(), given.read_bytes()) == (b"precious", before)


def test_stdin_is_spooled_privately_before_the_model_is_loaded(sea, byte_judge, tmp_path, monkeypatch):
    from seatools.engine import load

    seen, load_model = {}, load.load_model

    def looking(*args, **kwargs):
        (spool,) = tmp_path.iterdir()
        seen.update(content=spool.read_bytes(), mode=stat.S_IMODE(spool.stat().st_mode))
        return load_model(*args, **kwargs)

    monkeypatch.setattr(load, "load_model", looking)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    result = sea("judge", byte_judge, stdin=lines(*GIVEN))
    assert result.code == 0, result.stderr
    assert seen == {"content": lines(*GIVEN), "mode": 0o600}
    assert list(tmp_path.iterdir()) == []


# The pipe


def test_what_sample_prints_judge_reads(sea, chat_judge, criteria):
    user, assistant = {"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}
    given = lines({"prompt": "hi"}, {"prompt": [user]}, {"messages": [user, assistant]})
    sampled = sea("sample", chat_judge, "-n", 3, "--max-new-tokens", 8, stdin=given)
    assert sampled.code == 0, sampled.stderr
    result = sea("judge", chat_judge, "--criteria", criteria, "-v", stdin=sampled.stdout)
    assert result.code == 0, result.stderr
    assert "of 9 pairs kept" in result.stderr
    for value in records(result.stdout):
        assert type(value["prompt"]) is type(value["chosen"]) is type(value["rejected"])
