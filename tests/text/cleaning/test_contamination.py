"""Benchmarks are found in documents that hold them, and nowhere else."""

from __future__ import annotations

import json
import random

import pytest

from seatools.streams.errors import SeaError
from seatools.text.cleaning.contamination import BenchmarkTexts, texts_of_row


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
        host = clean[number % 60]
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


HAN = "北京大学的研究人员发现二十世纪初期长江流域的水稻产量与季风强度密切相关其中以湖北和江西最为明显"  # 47 letters
THAI = "กรุงเทพมหานครเป็นเมืองหลวงและนครที่มีประชากรมากที่สุดของประเทศไทย"
LATIN = "The committee published its findings on the rice harvest of the lower Yangtze in the spring of that year. "


def benchmark_of(tmp_path, *values):
    path = tmp_path / "task.jsonl"
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    return BenchmarkTexts([str(path)])


@pytest.mark.parametrize(
    ("text", "around"),
    [(HAN, LATIN * 5), (HAN[:20], LATIN * 5), (LATIN, HAN[::-1] * 20), (THAI, HAN[::-1] * 20), (HAN, THAI * 5)],
)
def test_a_piece_is_found_whatever_script_most_of_the_document_has(tmp_path, text, around):
    benchmark = benchmark_of(tmp_path, {"text": LATIN[::-1]}, {"text": f"{text} {text}"})
    assert benchmark.check(around) is None
    assert benchmark.check(around + text + around).detail.endswith("task.jsonl:2")


def test_a_piece_of_a_benchmark_text_of_two_scripts_is_found(tmp_path):
    benchmark = benchmark_of(tmp_path, {"text": LATIN * 3 + HAN})
    assert benchmark.check(HAN).detail.endswith("task.jsonl:1")
    assert benchmark.check(f"{HAN[::-1]}{LATIN}").value >= 1
    assert benchmark.check(HAN[:19] + LATIN[:30]) is None


def test_the_line_that_is_named_is_that_of_the_first_piece(tmp_path):
    benchmark = benchmark_of(tmp_path, {"text": LATIN}, {"text": HAN})
    assert benchmark.check(f"{HAN} {LATIN}").detail.endswith("task.jsonl:2")
    assert benchmark.check(f"{LATIN} {HAN}").detail.endswith("task.jsonl:1")


LINK = "https://en.wikinews.org/wiki/Rice_harvest_of_the_lower_Yangtze_exceeds_all_expectations"


@pytest.mark.parametrize(
    ("row", "texts"),
    [
        ({"link": LINK, "question": "q?", "answers": ["a b", "7"]}, ["q?", "a b"]),
        ({"text": f"看{LINK}。以后再说 www.example.org/a_b then"}, ["看", "。以后再说 ", " then"]),
        (["2023-05-03", "56beb4343aeaaa14008c925b", "tha_Thai", "b/c.txt", "x" * 40, "don't"], ["don't"]),
        ({"id": "an id of words", "wiki_URL": "page", "dialect": "Thai of the south", "idea": "kept"}, ["kept"]),
        ({"a": {"b": [{"c": THAI}]}, "n": 3, "t": True, "z": None}, [THAI]),
    ],
)
def test_what_names_a_row_is_no_text_of_it(row, texts):
    assert list(texts_of_row(row)) == texts


def test_a_document_that_cites_the_page_of_a_question_is_kept(tmp_path, shared):
    row = json.loads((shared / "data/belebele/tha_Thai.jsonl").read_text(encoding="utf-8").split("\n")[0])
    benchmark = benchmark_of(tmp_path, row | {"link": LINK, "note": f"From {LINK} as it was."})
    assert benchmark.check(f"Source: {LINK}") is None
    assert benchmark.check(f"{LINK} {row['flores_passage']}") is not None
