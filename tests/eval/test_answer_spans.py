"""Spans as SQuAD's script scores them, and character by character in scripts without spaces."""

from __future__ import annotations

import pytest

from seatools.eval.answer_spans import span_scores, span_tokens


@pytest.mark.parametrize(
    ("lang", "text", "references", "f1", "same"),
    [
        ("en", "The Denver Broncos.", ["Denver Broncos"], 1.0, True),
        ("en", "the Broncos won", ["Denver Broncos"], 0.5, False),
        ("en", "308", ["three hundred", "308"], 1.0, True),
        ("vi", "Hà Nội", ["Ha\u0300 Nô\u0323i"], 1.0, True),
        ("vi", "the", ["a"], 0.0, False),
        ("th", "๑๒ ปี", ["12 ปี"], 1.0, True),
        ("th", "แมวดำ", ["แมวขาว"], 6 / 11, False),
        ("zh", "丹佛野马", ["丹佛野马队"], 8 / 9, False),
        ("km", "ខ្ញុំ\u200bទៅ", ["ខ្ញុំទៅ"], 1.0, True),
        ("en", "", ["x"], 0.0, False),
        ("en", "word", ["another word word"], 0.5, False),
    ],
)
def test_spans(lang: str, text: str, references: list[str], f1: float, same: bool) -> None:
    assert span_scores(text, references, lang) == (pytest.approx(f1), same)


def test_characters_keep_their_marks_and_words_stay_whole() -> None:
    assert span_tokens("ปีที่ iPhone15!", "th") == ["ปี", "ที่", "iphone15"]
    assert span_tokens("a cat", "id") == ["a", "cat"]
