"""The answer's number: every MGSM language's phrase, and the items that lm-evaluation-harness' patterns misread."""

from __future__ import annotations

import json
import re
import time
import unicodedata
from decimal import Decimal
from pathlib import Path

import pytest

from seatools.eval.answer_numbers import answer_number, reference_number

# lm_eval/tasks/mgsm/native_cot/mgsm_native_cot_th.yaml, lm-evaluation-harness 0.4.12: strict-match, flexible-extract;
# both are followed by exact_match with ignore_punctuation (lm_eval/api/metrics.py), which strips string.punctuation.
HARNESS_STRICT_TH = r"คำตอบคือ (\-?[0-9\.\,]+)"
HARNESS_FLEXIBLE = r"(-?[$0-9.,]{2,})|(-?[0-9]+)"
PUNCTUATION = str.maketrans("", "", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")


def harness(text: str) -> str:
    """What its flexible filter and metric compare with the reference."""
    found = [next(part for part in match if part) for match in re.findall(HARNESS_FLEXIBLE, text) if any(match)]
    return found[-1].translate(PUNCTUATION) if found else "[invalid]"


def test_the_worked_answers_of_mgsm_read_back(shared: Path) -> None:
    rows = [json.loads(line) for line in (shared / "data/mgsm/exemplars.jsonl").read_text().splitlines()]
    assert len(rows) == 88
    for row in rows:
        assert answer_number(row["answer"], row["lang"]) == (row["answer_number"], row["answer_number"]), row


@pytest.mark.parametrize(
    ("lang", "text", "value"),
    [
        ("th", "ดังนั้น 5 + 6 = 11 คำตอบคือ ๑๑", 11), ("lo", "ຄຳຕອບແມ່ນ ໑໑", 11), ("lo", "ຄໍາຕອບແມ່ນ 11 ກີບ", 11),
        ("km", "ចម្លើយគឺ ១១ ។", 11), ("my", "အဖြေမှာ ၁၁ ဖြစ်သည်။", 11), ("id", "Jawabannya adalah 1.234,5.", 1234.5),
        ("id", "Jawaban: Rp12.500", 12500), ("ms", "Jawapannya ialah RM1,250.50.", 1250.5),
        ("vi", "Câu trả lời là 1.234 đồng.", 1234),
        ("vi", "Đáp số: 12,5 m", 12.5), ("tl", "Ang sagot ay 11.", 11), ("jv", "Wangsulane yaiku 11.", 11),
        ("en", "The answer is: **$1,450**.", 1450), ("en", "THE ANSWER IS\n\n\\boxed{18}", 18),
        ("ja", "答えは９個です。", 9),
        ("bn", "উত্তর হল ১১।", 11), ("hi", "उत्तर है १२,३४,५६७", 1234567), ("ta", "பதில்: ௧௧", 11),
        ("ar", "الجواب هو ١٬٢٣٤", 1234),
    ],
)  # fmt: skip
def test_phrases_of_the_language(lang: str, text: str, value: float) -> None:
    assert answer_number(text, lang) == (Decimal(str(value)), Decimal(str(value)))


@pytest.mark.parametrize(
    ("lang", "text", "reference", "harness_reads"),
    [
        ("th", "คำตอบคือ ๑๘", "18", "[invalid]"),
        ("lo", "ຄຳຕອບແມ່ນ ໑໘", "18", "[invalid]"),
        ("km", "ចម្លើយគឺ ១៨", "18", "[invalid]"),
        ("my", "အဖြေမှာ ၁၈", "18", "[invalid]"),
        ("en", "The answer is 18.00", "18", "1800"),
        ("id", "Jawabannya adalah 12,5", "12.5", "125"),
        ("en", "The answer is -5", "-5", "5"),
        ("en", "The answer is 18 dollars every 7 days", "18", "7"),
        ("vi", "Câu trả lời là 18 đô la cho 7 ngày", "18", "7"),
        ("id", "Jawabannya adalah 1.234,50", "1234.5", "123450"),
    ],
)
def test_items_that_the_harness_misreads(lang: str, text: str, reference: str, harness_reads: str) -> None:
    assert harness(text) == harness_reads
    assert harness_reads == "[invalid]" or Decimal(harness_reads) != Decimal(reference)
    assert answer_number(text, lang) == (Decimal(reference), Decimal(reference))


def test_the_harness_cannot_tell_a_sign() -> None:
    assert harness("The answer is 5") == "-5".translate(PUNCTUATION)
    assert answer_number("The answer is 5", "en").strict != Decimal(-5)


def test_its_strict_thai_pattern_reads_no_thai_digit() -> None:
    assert re.findall(HARNESS_STRICT_TH, "คำตอบคือ ๑๘") == []
    assert re.findall(HARNESS_STRICT_TH, "คำตอบคือ 18 บาท") == ["18"]


@pytest.mark.parametrize(
    ("text", "strict", "flexible"),
    [
        ("The answer is 5. Wait, the answer is 7.", 7, 7),
        ("The answer is 5 + 6 = 11.", 11, 11),
        ("The answer is 5+6=**11** balls.", 11, 11),
        ("The answer is 11. So the answer is clear.", 11, 11),
        ("Step-by-Step Answer: Roger had 5 balls", None, 5),
        ("so 5 + 6 = 11", None, 11),
        ("#### 1,450\nextra 3", None, 1450),
        ("The answer is 3/4", None, None),
        ("no idea", None, None),
        ("", None, None),
    ],
)
def test_strict_and_flexible(text: str, strict: int | None, flexible: int | None) -> None:
    assert answer_number(text, "en") == (strict, flexible)


def test_what_nfkc_takes_apart_is_put_together() -> None:
    apart = unicodedata.normalize("NFKC", "คำตอบคือ ๑๘ ใน 7 วัน")
    assert "คำตอบ" not in apart
    assert answer_number(apart, "th") == (18, 18)
    assert answer_number(unicodedata.normalize("NFKC", "ຄຳຕອບແມ່ນ ໑໘ ໃນ 7"), "lo") == (18, 18)


def test_an_english_phrase_in_another_language_is_flexible_only() -> None:
    assert answer_number("The answer is 18 ใน 7 วัน", "th") == (None, 18)


def test_references(shared: Path) -> None:
    rows = [json.loads(line) for line in (shared / "data/mgsm/th.jsonl").read_text().splitlines()]
    found = [reference_number(row["answer_number"]) for row in rows]
    assert None not in found and Decimal(5600) in found
    assert reference_number(12.5) == Decimal("12.5")
    assert [reference_number(bad) for bad in ("", "eleven", "1 or 2", True, None)] == [None] * 5


@pytest.mark.parametrize("text", ["the answer is " * 3000, "the answer is 5+ " * 2000, "the answer is " + "1= " * 5000])
def test_endless_answers_take_linear_time(text: str) -> None:
    start = time.perf_counter()
    answer_number(text, "en")
    assert time.perf_counter() - start < 2


def test_a_number_that_the_window_cuts_is_not_read_in_part() -> None:
    assert answer_number("The answer is" + " " * 990 + "1234567890123 " + "x" * 50, "en").strict is None
