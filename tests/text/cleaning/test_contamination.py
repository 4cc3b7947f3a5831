"""Benchmarks are found in documents that hold them, and nowhere else."""

from __future__ import annotations

import json
import random

import pytest

from seatools.streams.errors import SeaError
from seatools.text.cleaning.contamination import BenchmarkTexts


def documents(shared, name):
    lines = (shared / f"data/mono/{name}.jsonl").read_text(encoding="utf-8").rstrip("\n").split("\n")
    return [json.loads(line)["text"] for line in lines]


@pytest.mark.parametrize(
    ("file", "field", "name"),
    [
        ("belebele/tha_Thai.jsonl", "flores_passage", "th_thaigov"),
        ("xquad/vi.jsonl", "context", "vi_wiki"),
        ("xquad/zh.jsonl", "context", "vi_wiki"),
    ],
)
def test_a_planted_piece_is_found_and_its_line_named(shared, file, field, name):
    path = str(shared / "data" / file)
    rows = [json.loads(line) for line in open(path, encoding="utf-8")]  # noqa: SIM115
    benchmark = BenchmarkTexts([path])
    numbers = random.Random(0)
    clean = documents(shared, name)[:60]
    for number in range(0, len(rows), 40):
        text = rows[number][field]
        start = numbers.randrange(max(len(text) - 80, 1))
        host = clean[number % 60] if "zh" not in file else ""
        found = benchmark.check(host + " " + text[start : start + 80].upper().replace(" ", "\n") + "\n" + host)
        if found is None:  # 80 characters with fewer than 40 letters
            assert sum(char.isalnum() for char in text[start : start + 80]) < 45
            continue
        assert found.reason == "contamination.v1"
        named = int(found.detail.rsplit(":", 1)[1])
        assert rows[named - 1][field] == text  # several questions share a passage
        assert found.value >= 1 and found.limit == 0


def test_unrelated_real_text_is_not(shared):
    data = shared / "data"
    benchmark = BenchmarkTexts([str(data / "flores200/dev/tha_Thai.txt"), str(data / "xquad/th.jsonl")])
    assert [text[:50] for text in documents(shared, "th_thaigov")[:300] if benchmark.check(text)] == []


def test_deep_fields_list_files_and_short_texts(tmp_path):
    answer = "the quick brown fox jumps over the lazy dog and away"
    (tmp_path / "task.jsonl").write_text(json.dumps({"id": 7, "prompts": [{"options": ["no", answer]}]}) + "\n")
    (tmp_path / "lines.txt").write_text("short\n" + answer[::-1] + "\n")
    (tmp_path / "list").write_text(f"{tmp_path}/task.jsonl\n{tmp_path}/lines.txt\n")
    benchmark = BenchmarkTexts([f"@{tmp_path}/list"])
    assert (benchmark.num_texts, benchmark.num_short) == (2, 2)
    assert benchmark.check("x" * 60 + answer).detail.endswith("task.jsonl:1")
    assert benchmark.check(answer[::-1]).detail.endswith("lines.txt:2")
    assert benchmark.check(answer[:-12]) is None  # 31 letters


def test_a_benchmark_with_nothing_to_look_for(tmp_path):
    (tmp_path / "a.txt").write_text("short\n")
    with pytest.raises(SeaError, match="no text of 40 letters"):
        BenchmarkTexts([str(tmp_path / "a.txt")])
