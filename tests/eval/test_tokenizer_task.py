"""The task `tokenizer`: the measures of `sea audit` on the same files, as scores that resume and compare."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_llama import write_jsonl, write_tokenizer

SHARED = {"bytes_per_token", "tokens_per_character", "tokens_per_cluster", "fertility", "unk_rate",
          "byte_fallback_rate", "incomplete_rate", "round_trip_failures"}  # fmt: skip


def scores(result: Any) -> list[dict[str, Any]]:
    assert result.code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture
def never_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("open_model", "load_model", "model_positions"):
        monkeypatch.setattr(f"seatools.engine.load.{name}", lambda *_, **__: pytest.fail("loaded"))


def values_of(rows: list[dict[str, Any]]) -> dict[tuple[str, str], tuple[float, float | None, int]]:
    return {(row["lang"], row["metric"]): (row["value"], row["stderr"], row["n"]) for row in rows}


@pytest.mark.parametrize("tokenizer", ["gpt2-thai", "mistral-v1-spm", "thai-wangchanberta-spm"])
def test_its_values_are_those_of_audit(sea, shared, tokenizer, never_loaded):
    folder = shared / "tokenizers" / tokenizer
    files = [f"{lang}={shared / 'data/flores200/dev' / name}.txt"
             for lang, name in (("th", "tha_Thai"), ("my", "mya_Mymr"), ("en", "eng_Latn"))]  # fmt: skip
    data = [part for file in files for part in ("--data", file)]
    rows = scores(sea("eval", folder, "tokenizer", *data, "--reference", "en", "--limit", "60", "--json"))
    audited = values_of(scores(sea("audit", folder, *files, "--reference", "en", "--limit", "60", "--json")))
    own = values_of(rows)
    assert {lang for lang, _ in own} == {"th", "my", "en"}
    assert {metric for lang, metric in own if lang == "en"} == SHARED
    assert {metric for lang, metric in own if lang == "th"} == SHARED - {"fertility"} | {"parity"}
    for key, (value, stderr, count) in own.items():
        theirs, drawn, of = audited[key]
        assert (value, count) == (theirs, of), key  # not "about": the same sums, divided once
        if drawn is not None:  # the bootstrap's and the closed form of a ratio of sums
            assert stderr == pytest.approx(drawn, rel=0.15, abs=1e-12), key


def test_samples_hold_the_counts_and_do_not_depend_on_the_model(sea, model_folder, tmp_path, never_loaded):
    data = write_jsonl(tmp_path / "t.jsonl", [{"text": "the cat sat"}, {"text": "on"}])
    samples, other = tmp_path / "s.jsonl", tmp_path / "other"
    write_tokenizer(other, names=("bos", "eos"), template=None)  # and no model beside it
    base = ["tokenizer", "--data", f"en={data}", "--samples", samples]
    rows = scores(sea("eval", model_folder, *base))
    lines = [json.loads(line) for line in samples.read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["tokens"] * 2
    assert lines[0]["result"] == {
        "tokens": 11, "bytes": 11, "characters": 11, "clusters": 11, "words": 3, "unk": 0, "byte_pieces": 0,
        "incomplete": 0,
    }  # fmt: skip
    assert {line["config"][name] for line in lines for name in ("model_digest", "dtype", "neurons_digest")} == {None}
    again = scores(sea("eval", other, *base))
    assert len(samples.read_text().splitlines()) == 2  # the same tokenizer: nothing is counted anew
    assert values_of(again) == values_of(rows) == values_of(scores(sea("eval", "score", samples)))
    assert values_of(rows)["en", "fertility"][0] == 13 / 4


def test_two_tokenizers_are_compared_text_by_text(sea, shared, tmp_path):
    data = f"th={shared / 'data/flores200/dev/tha_Thai.txt'}"
    files = []
    for name in ("gpt2-thai", "mistral-v1-spm"):
        files.append(tmp_path / f"{name}.jsonl")
        scores(sea("eval", shared / "tokenizers" / name, "tokenizer", "--data", data, "--limit", "40",
                   "--samples", files[-1]))  # fmt: skip
    rows = scores(sea("eval", "compare", *files, "--json"))
    by_metric = {row["metric"]: row for row in rows}
    one, two = by_metric["bytes_per_token"], by_metric["tokens_per_character"]
    assert one["p_holm"] < 0.05 and (one["difference"] > 0) == (two["difference"] < 0)


def test_beside_another_task_each_has_its_records(sea, model_folder, tmp_path):
    data = write_jsonl(tmp_path / "t.jsonl", [{"text": "the cat"}, {"text": "on a mat"}])
    rows = scores(sea("eval", model_folder, "perplexity", "tokenizer", "--data", f"en={data}", "--seed", "1"))
    assert [row["task"] for row in rows] == ["perplexity"] + ["tokenizer"] * len(SHARED)
    assert "model_digest" in rows[0]["config"] and "model_digest" not in rows[1]["config"]


def test_a_plan_says_that_no_model_is_asked(sea, model_folder, tmp_path, never_loaded):
    data = write_jsonl(tmp_path / "t.jsonl", [{"text": "the cat"}])
    told = sea("eval", model_folder, "tokenizer", "--data", f"en={data}", "--dry-run").stderr
    assert "tokenizer, en: 1 texts, counted without the model" in told and "readings" not in told


@pytest.mark.parametrize(
    ("rows", "more", "code", "words"),
    [
        ([{"text": "a\0b"}], [], 1, "NUL character"),
        ([{"text": "  "}], [], 1, "empty"),
        ([{"prompt": "x"}], [], 1, "text"),
        ([{"text": "a"}], ["--reference", "th"], 2, "no text in it"),
        ([{"text": "a"}], ["--deactivate", "n.safetensors:th"], 2, "asks the tokenizer alone"),
        ([{"text": "a"}], ["--judge", "j.jsonl"], 2, "no task has answers for a judge"),
        ([{"text": "a"}], ["--shots", "2"], 2, "no shots in the task tokenizer"),
    ],
)
def test_what_cannot_be_counted_is_refused(sea, model_folder, tmp_path, rows, more, code, words):
    data: Path = write_jsonl(tmp_path / "t.jsonl", rows)
    result = sea("eval", model_folder, "tokenizer", "--data", f"en={data}", *more)
    assert (result.code, result.stdout) == (code, b"") and words in result.stderr
    assert len(result.stderr.splitlines()) <= 3
