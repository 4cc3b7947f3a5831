"""A run that was killed goes on where it was: the same results to the byte, and nothing is asked twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_llama import write_jsonl

HERE = Path(__file__).parent


@pytest.fixture
def data(tmp_path: Path) -> list[str]:
    """A perplexity, a choice and a generation task."""
    words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    texts = write_jsonl(tmp_path / "t.jsonl", [{"text": f"{word} is a word, and {word} again"} for word in words])
    rows = [{"question": f"{n} + 1?", "choices": words[:4], "answer": n % 4} for n in range(12)]
    questions = write_jsonl(tmp_path / "q.jsonl", rows)
    asked = write_jsonl(tmp_path / "p.jsonl", [{"prompt": f"After {word} comes", "reference": "x"} for word in words])
    return ["--data", f"en={texts}", "--data", f"en={questions}", "--data", f"en={asked}", "--max-new-tokens", "6"]


def arguments(model_folder: Path, data: list[str]) -> list[str]:
    return ["eval", str(model_folder), "perplexity", "choice", "translation", *data]


@pytest.mark.slow
def test_killed_at_random_points_and_begun_again_the_results_are_equal_to_the_byte(model_folder, data, tmp_path):
    found = subprocess.run(
        [sys.executable, str(HERE / "kill_runs.py"), "4", "1", str(tmp_path), *arguments(model_folder, data)],
        capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=300,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith("4 kills, ")


def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seatools.eval.units.UNIT_TOKENS", 128)
    monkeypatch.setattr("seatools.engine.prompts.GROUP", 3)


def test_an_error_in_the_middle_loses_nothing_and_a_finished_run_loads_no_model(
    sea, model_folder, data, tmp_path, monkeypatch
):
    small_units(monkeypatch)
    whole, out = tmp_path / "whole.jsonl", tmp_path / "out.jsonl"
    assert sea(*arguments(model_folder, data), "-o", whole).code == 0
    from seatools.eval.sample_file import SampleFile

    real, left = SampleFile.append, [13]

    def append(self: SampleFile, sample: Any) -> bool:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")
        return real(self, sample)

    monkeypatch.setattr(SampleFile, "append", append)
    failed = sea(*arguments(model_folder, data), "-o", out)
    assert failed.code == 1 and "No space left" in failed.stderr and not out.exists()
    monkeypatch.setattr(SampleFile, "append", real)
    samples = tmp_path / "out.jsonl.samples.jsonl"
    samples.write_bytes(samples.read_bytes() + b'{"key": "torn')
    again = sea(*arguments(model_folder, data), "-o", out)
    assert again.code == 0 and "13 of 32 answers already" in again.stderr and "cut off" in again.stderr
    assert out.read_bytes() == whole.read_bytes()

    monkeypatch.setattr("seatools.engine.load.open_model", lambda *_, **__: pytest.fail("loaded"))
    assert sea(*arguments(model_folder, data), "-o", out, "--force").code == 0
    assert out.read_bytes() == whole.read_bytes()


def test_other_models_and_settings_live_in_one_file_and_do_not_count(sea, model_folder, data, tmp_path):
    shared = ["--samples", str(tmp_path / "s.jsonl"), "--limit", "3"]
    base = ["eval", str(model_folder), "choice", *data[2:4]]
    plain = sea(*base, *shared)
    shots = sea(*base, *shared, "--shots", "1", "--shots-data", write_shots(tmp_path))
    assert plain.code == shots.code == 0, shots.stderr
    assert plain.stdout != shots.stdout
    assert sea(*base, *shared).stdout == plain.stdout
    lines = [json.loads(line) for line in (tmp_path / "s.jsonl").read_text().splitlines()]
    assert [line["config"]["shots"] for line in lines] == [0, 0, 0, 1, 1, 1]
    assert len({line["item"] for line in lines}) == 3  # the same questions


def write_shots(folder: Path) -> str:
    return f"en={write_jsonl(folder / 'shots.jsonl', [{'question': '0?', 'choices': ['a', 'b'], 'answer': 0}])}"


def test_shards_together_are_the_whole(sea, model_folder, data, tmp_path, monkeypatch):
    small_units(monkeypatch)
    whole = sea(*arguments(model_folder, data), "--samples", tmp_path / "whole.jsonl")
    parts = [tmp_path / f"{number}.jsonl" for number in range(3)]
    for number, part in enumerate(parts):
        shard = sea(*arguments(model_folder, data), "--samples", part, "--shard", f"{number}/3")
        assert (shard.code, shard.stdout) == (0, b"") and "sea eval score" in shard.stderr
        assert part.read_bytes()
    merged = sea("eval", "score", *map(str, parts))
    assert sorted(merged.stdout.splitlines()) == sorted(whole.stdout.splitlines())


@pytest.mark.slow
def test_two_processes_give_what_one_gives(sea, model_folder, data, tmp_path):
    one = sea(*arguments(model_folder, data), "-o", tmp_path / "one.jsonl")
    command = [sys.executable, "-P", "-m", "seatools", *arguments(model_folder, data), "--nproc", "2", "-q"]
    two = subprocess.run([*command, "-o", tmp_path / "two.jsonl"], capture_output=True, text=True, timeout=300)
    assert (one.code, two.returncode) == (0, 0), two.stderr
    rows = [
        [json.loads(line) for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()] for name in ("one", "two")
    ]
    for ours, theirs in zip(*rows, strict=True):
        assert ours["metric"] == theirs["metric"] and ours["value"] == pytest.approx(theirs["value"], rel=1e-5)
    assert sorted(file.name for file in tmp_path.glob("two*")) == [
        "two.jsonl", "two.jsonl.manifest.json", "two.jsonl.samples.jsonl",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "more, code, words",
    [
        (["--shard", "0/2"], 2, "a shard gives samples, not scores"),
        (["--shard", "2/2", "--samples", "x.jsonl"], 2, "is no shard"),
        (["--samples", "OUT"], 2, "is read or written otherwise too"),
        (["--samples", "."], 2, "samples are appended to a file"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(sea, model_folder, data, tmp_path, more, code, words):
    out = tmp_path / "o.jsonl"
    named = [str(out) if word == "OUT" else word for word in more]
    result = sea(*arguments(model_folder, data), *(["-o", out] if "OUT" in more else []), *named)
    assert result.code == code and words in result.stderr


def test_a_samples_file_with_damage_is_refused_and_left_alone(sea, model_folder, data, tmp_path):
    samples = tmp_path / "s.jsonl"
    samples.write_text('{"no": "sample"}\n{"key": 1}\n')
    result = sea(*arguments(model_folder, data), "--samples", samples)
    assert result.code == 1 and "s.jsonl:1" in result.stderr
    assert samples.read_text() == '{"no": "sample"}\n{"key": 1}\n'
