"""Answers that no judge sees: each filter by itself, and what passes all of them."""

from __future__ import annotations

import json

import pytest

from seatools.judge.filters import AnswerFilter, FilterOptions, repeated_share
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.records import Record

ENGLISH = "The cat sits on the table and looks at the rain outside."
THAI = "แมวนั่งอยู่บนโต๊ะและมองฝนที่ตกอยู่ข้างนอก"
MALAY = "Kucing itu duduk di atas meja dan melihat hujan di luar rumah."
LOOP = "I like rice and fish. " * 8


def record(*responses: str, line: int = 1, **more: object) -> Record:
    value = {"prompt": "why", "responses": list(responses), **more}
    return Record(json.dumps(value).encode(), value, "r.jsonl", line)


def passed(one: Record, **options: object) -> tuple[list[int], list[tuple[str, int]]]:
    return AnswerFilter(FilterOptions(**options)).usable(one)


def test_without_a_flag_only_answers_go_that_nothing_can_be_learnt_from():
    assert passed(record(ENGLISH, THAI, LOOP, "I'm sorry, but I can't.", " \n", "a\0", lang="th")) == (
        [0, 1, 2, 3], [("empty answer", 4), ("nul", 5)],
    )  # fmt: skip


def test_the_script_of_an_answer_has_to_be_its_languages():
    assert passed(record(THAI, ENGLISH, "42", lang="th"), lang_check="script") == ([0, 2], [("another language", 1)])
    assert passed(record(ENGLISH, MALAY, THAI, lang="id"), lang_check="script")[0] == [0, 1]


def test_cld2_tells_languages_of_one_script_apart():
    pytest.importorskip("pycld2")
    assert passed(record(MALAY, ENGLISH, lang="id"), lang_check="cld2") == ([0], [("another language", 1)])
    assert passed(record(MALAY, ENGLISH, lang="ms"), lang_check="cld2")[0] == [0]


def test_a_record_without_a_language_passes_and_is_counted():
    filtering = AnswerFilter(FilterOptions(lang_check="script"))
    assert filtering.usable(record(THAI, ENGLISH))[0] == [0, 1]
    assert filtering.num_without_lang == 1


def test_loops_go_and_prose_stays():
    assert passed(record(ENGLISH, LOOP, THAI, "ฮ่า" * 40), max_repetition=0.5) == (
        [0, 2], [("repetition", 1), ("repetition", 3)],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "share"), [("", 0), ("short", 0), ("0123456789", 0), ("a" * 12, 2 / 3), ("0123456789" * 2, 1 / 11)]
)
def test_the_repeated_share_is_that_of_windows_seen_before(text, share):
    assert repeated_share(text) == pytest.approx(share)


def test_refusals_go_where_none_is_due():
    refusal = "I'm sorry, but I can't help with that."
    thai = "ขออภัย ฉันไม่สามารถช่วยเรื่องนี้ได้"
    assert passed(record(refusal, ENGLISH), drop_refusals=True) == ([1], [("refusal", 0)])
    assert passed(record(refusal, ENGLISH, refuse=True), drop_refusals=True)[0] == [0, 1]
    assert passed(record(thai, THAI, refuse=False, lang="th"), drop_refusals=True) == ([1], [("refusal", 0)])


def test_answers_of_other_records_go_and_those_of_the_same_stay():
    filtering = AnswerFilter(FilterOptions(drop_duplicates=True))
    assert filtering.usable(record("yes", "no", "yes", line=1))[0] == [0, 1, 2]
    assert filtering.usable(record("maybe", " yes\n", line=2)) == ([0], [("answer of another record", 1)])


def test_the_length_ratio_is_of_characters():
    filtering = AnswerFilter(FilterOptions(max_length_ratio=2))
    pairs = (("ab", "กขคง"), ("ab", "abcde"), ("กขคง", "abcde"))
    assert [filtering.too_unequal(*pair) for pair in pairs] == [False, True, False]
    assert not AnswerFilter(FilterOptions()).too_unequal("a", "b" * 99)


@pytest.mark.parametrize("wrong", [{"max_length_ratio": 0.5}, {"max_repetition": 1.5}, {"max_repetition": -0.1}])
def test_limits_that_mean_nothing_are_refused(wrong):
    with pytest.raises(UsageError):
        FilterOptions(**wrong)


def test_an_unknown_identifier_is_refused():
    with pytest.raises(SeaError):
        AnswerFilter(FilterOptions(lang_check="guess"))
