"""Option letters in every script, after the language's tag, and never by the first capital of the text."""

from __future__ import annotations

import re
import time

import pytest

from seatools.eval.answer_letters import FAMILIES, answer_letter
from seatools.eval.answer_phrases import languages, phrases

CITIES = ("Bangkok", "Paris", "Rome", "Hanoi")
# DAMO-NLP-SG/SeaExam at 4f3167d: the first capital A-E anywhere is the answer (research A1).
SEAEXAM = r"[A-E]"


def read(text: str, lang: str = "en", choices: tuple[str, ...] = CITIES, labels: list[str] | None = None) -> tuple:
    return tuple(answer_letter(text, choices, lang, labels))


@pytest.mark.parametrize(
    ("text", "read_as"), [("Answer: B", "A"), ("The capital is C", "C"), ("Definitely B", "D"), ("Clearly, B", "C")]
)
def test_the_first_capital_is_not_the_answer(text: str, read_as: str) -> None:
    first = re.search(SEAEXAM, text)
    assert first is not None and first[0] == read_as
    assert read(text)[1] == "ABCD".index(text[-1])


@pytest.mark.parametrize("lang", languages())
def test_every_announcement_is_read_with_every_family(lang: str) -> None:
    for phrase in phrases(lang, "answer", "letter"):
        for family in FAMILIES:
            label = family[1]
            assert read(f"{phrase} {label}", lang) == (1, 1), (phrase, label)
            assert read(f"{phrase} ({label})", lang) == (1, 1), (phrase, label)
        for filler in phrases(lang, "filler"):
            assert read(f"{phrase} {filler} 3.", lang) == (2, 2), (phrase, filler)


@pytest.mark.parametrize(
    ("lang", "text", "place"),
    [
        ("en", "B", 1), ("en", "b", 1), ("en", "(B)", 1), ("en", "b)", 1), ("en", "B.", 1), ("en", "**C**", 2),
        ("en", "B) Paris", 1), ("en", "B. Paris", 1), ("en", "Paris", 1), ("en", "paris.", 1),
        ("en", " B\n\nQuestion: A", 1),
        ("en", "Answer:\n\nB", 1), ("en", "The answer is $\\boxed{C}$", 2), ("en", "The answer is Paris.", 1),
        ("en", "Ｂ", 1), ("en", "②", 1), ("en", "(3)", 2), ("en", "3)", 2), ("en", "A", 0),
        ("en", "A because it is", 0),
        ("en", "Answer: A", 0), ("en", "The answer is not A. The answer is B.", 1),
        ("en", "D. Hanoi is the capital", 3),
        ("th", "๓", 2), ("th", "๒. Paris", 1), ("th", "ตอบข้อ ๓", 2), ("th", "คำตอบคือ ข้อ ค", 2),
        ("th", "ข", 1), ("th", "ง. Hanoi", 3),
        ("th", "Answer: B", 1), ("lo", "ຄຳຕອບແມ່ນຂໍ້ ໒", 1), ("km", "ចម្លើយ៖ គ", 2), ("km", "៤", 3),
        ("my", "အဖြေ ဃ", 3),
        ("my", "၄", 3), ("zh", "答案是B。", 1), ("zh", "选C", 2), ("vi", "Đáp án đúng là B.", 1),
        ("id", "Jawaban: (b)", 1),
        ("jv", "Wangsulan: c", 2), ("tl", "Ang sagot ay titik D", 3), ("ru", "Ответ: Б", 1), ("ko", "정답: 2", 1),
    ],
)  # fmt: skip
def test_strict(lang: str, text: str, place: int) -> None:
    assert read(text, lang) == (place, place)


@pytest.mark.parametrize(
    ("lang", "text", "flexible"),
    [
        ("en", "I think that option B is right.", 1),
        ("en", "It must be Paris, of course.", 1),
        ("th", "ฉันคิดว่าข้อ ข ถูกต้อง", 1),
        ("en", "Answer: A. On reflection, the answer is B", 1),
        ("en", "B is right.", 1),
    ],
)
def test_flexible_only(lang: str, text: str, flexible: int) -> None:
    assert read(text, lang) == (None, flexible)


@pytest.mark.parametrize(
    ("lang", "text"),
    [
        ("en", "The answer is A or B"), ("en", "A/B"), ("en", "Both A and B are right"), ("en", "B. Rome"),
        ("en", "Paris or Rome"), ("th", "คำตอบคือ ก หรือ ข"), ("vi", "Đáp án là A hoặc B"), ("zh", "答案是A或B"),
        ("en", "Answer: a dog"), ("en", "A dog is barking"), ("th", "คำตอบคือ กบ"), ("th", "คำตอบคือ ข้าว"),
        ("en", "All of them"), ("en", ""), ("en", "E"), ("en", "5"), ("en", "3 apples are left"),
        ("en", "I don't know"),
    ],
)  # fmt: skip
def test_no_guess(lang: str, text: str) -> None:
    assert read(text, lang) == (None, None)


def test_a_digit_is_a_label_or_a_text_by_the_prompt() -> None:
    numbers = ("3", "4", "5", "6")
    assert read("Answer: 3", choices=numbers, labels=["A", "B", "C", "D"]) == (0, 0)
    assert read("คำตอบ: ๓", "th", choices=numbers, labels=["๑", "๒", "๓", "๔"]) == (2, 2)
    assert read("3", choices=numbers) == (0, 0)


def test_cyrillic_letters_are_latin_where_nobody_writes_cyrillic() -> None:
    assert read("Đáp án: \u0412", "vi") == (1, 1)
    assert read("Ответ: \u0412", "ru") == (2, 2)


def test_the_longer_text_is_meant() -> None:
    assert read("It is 100 of course", choices=("10", "100", "20", "30")) == (None, 1)


def test_labels_beyond_the_options_are_none() -> None:
    assert read("C", choices=("yes", "no")) == (None, None)


@pytest.mark.parametrize(
    "text",
    [
        "Answer: A " * 3000,
        "answer" + " " * 20000 + "x",
        "*" * 20000 + "A",
        "( " * 10000,
        "ตอบ" * 5000,
        "* (" * 7000,
        "or " * 7000,
    ],
)
def test_endless_answers_take_linear_time(text: str) -> None:
    start = time.process_time()
    read(text, "th")
    read(text, "en")
    assert time.process_time() - start < 2
