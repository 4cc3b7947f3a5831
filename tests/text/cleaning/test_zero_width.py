"""Invisible characters: which go, which stay, on made and on real text."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatools.text.cleaning.repair import repairer
from seatools.text.cleaning.zero_width import repair_zero_width


@pytest.mark.parametrize(
    "text",
    [
        "می\u200cخواهم",  # Persian: ZWNJ keeps letters apart
        "ك\u200d",  # Arabic: ZWJ shows the joined form at the end
        "క్\u200c",  # Telugu: ZWNJ after a virama at the end of a word
        "ක්\u200dෂ",  # Sinhala conjunct
        "ක්\u200d",
        "👩\u200d👩\u200d👧",
        "❤️\u200d🔥",
        "ភាសា\u200bខ្មែរ",  # a Khmer word break
        "שלום\u200f!",  # a mark in a text written from the right
        "a\tb\nc\r\nd",
    ],
)
def test_what_means_something_stays(text):
    assert repair_zero_width(text) == text


@pytest.mark.parametrize(
    ("text", "repaired"),
    [
        ("\ufeffสวัสดี\u200bครับ", "สวัสดีครับ"),
        ("ພາ\u200bສາ\u200bລາວ", "ພາສາລາວ"),
        ("မြန်\u200bမာ", "မြန်မာ"),
        ("ខ្មែរ\u200b \u200bភាសា", "ខ្មែរ ភាសា"),
        ("ភា\u200b\u200bសា", "ភា\u200bសា"),
        ("hy\u00adphen\u200c \u2060word\u200d", "hyphen word"),
        ("left\u200e \u202bto right\u202c", "left to right"),
        ("a\x00b\x08c\x7fd\x9ce", "abcde"),
        ("line\x0bline\x85line", "line\nline\nline"),
    ],
)
def test_what_means_nothing_goes(text, repaired):
    assert repair_zero_width(text) == repaired


def test_strip_takes_khmer_word_breaks_too():
    assert repair_zero_width("ភាសា\u200bខ្មែរ", keep_khmer_breaks=False) == "ភាសាខ្មែរ"


_PIECES = st.sampled_from(
    [*"\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\u2066\ufeff\x02\x85", *"aé e\u0301កខ្ក್ಕကाمش ", "👩", "🏽", "ẹ\u0302"]
)


@given(st.lists(_PIECES, max_size=12).map("".join), st.sampled_from(["repair", "strip"]))
def test_twice_is_once_and_no_visible_character_is_lost(text, mode):
    mend = repairer("nfc", mode)
    once = mend(text)
    assert mend(once) == once
    assert unicodedata.is_normalized("NFC", once)

    def visible(value):
        return [char for char in unicodedata.normalize("NFD", value) if unicodedata.category(char)[0] != "C"]

    if "\x85" not in text:
        assert sorted(visible(once)) == sorted(visible(text))


def test_real_text(shared):
    flores = shared / "data/flores200/dev"
    khmer = (flores / "khm_Khmr.txt").read_text(encoding="utf-8")
    assert 0.85 < repair_zero_width(khmer).count("\u200b") / khmer.count("\u200b") < 1
    for name in ("tha_Thai", "lao_Laoo", "tam_Taml"):
        assert "\u200b" not in repair_zero_width((flores / f"{name}.txt").read_text(encoding="utf-8"))
    telugu = [json.loads(line)["question"] for line in (shared / "data/mgsm/te.jsonl").open(encoding="utf-8")]
    before, after = "".join(telugu).count("\u200c"), sum(repair_zero_width(text).count("\u200c") for text in telugu)
    assert before - 9 <= after <= before
