"""Segmenters: the Burmese rule by hand; the packages where they are installed."""

from __future__ import annotations

import sys

import pytest

from seatools.audit.segmenters import segmenter_for, syllables
from seatools.streams.errors import SeaError
from seatools.text.text_batch import TextBatch


def test_burmese_syllables():
    assert syllables("မြန်မာ ဂုဏ်သိက္ခာ abc ၁၂။") == ["မြန်", "မာ", " ", "ဂုဏ်", "သိက္ခာ", " abc ", "၁", "၂", "။"]


def test_the_dot_below_before_the_killer_as_in_nfc():
    assert syllables("ဖြ\u1004\u1037\u103aတ") == ["ဖြ\u1004\u1037\u103a", "တ"]


def test_only_parts_with_letters_or_digits_count():
    batch = TextBatch(["မာ ။", "abc"])
    spans = segmenter_for("mya_Mymr").spans(batch)
    assert spans.per_doc.tolist() == [1, 1]
    assert [bytes(batch.data[a:b]).decode().strip() for a, b in zip(spans.starts, spans.ends, strict=True)] == ["မာ", "abc"]  # fmt: skip  # noqa: E501


@pytest.mark.parametrize("lang", ["en", "vi", "und"])
def test_languages_without_one(lang):
    assert segmenter_for(lang) is None


@pytest.mark.parametrize(("lang", "package"), [("th", "pythainlp"), ("km", "khmercut"), ("lao_Laoo", "laonlp")])
def test_a_missing_package_is_one_line(lang, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SeaError, match=f"this needs {package}") as error:
        segmenter_for(lang)
    assert "sea-adapt[segment]" in error.value.report()


@pytest.mark.parametrize(
    ("lang", "package", "text", "words"),
    [
        ("th", "pythainlp", "ประเทศไทย สวยงาม", ["ประเทศ", "ไทย", "สวยงาม"]),
        ("km", "khmercut", "ខ្ញុំស្រលាញ់ប្រទេសកម្ពុជា", ["ខ្ញុំ", "ស្រលាញ់", "ប្រទេស", "កម្ពុជា"]),
        ("lo", "laonlp", "ສະບາຍດີ", ["ສະບາຍດີ"]),
    ],
)
def test_words_by_package(lang, package, text, words):
    pytest.importorskip(package, reason="needs the extra: pip install 'sea-adapt[segment]'")
    batch = TextBatch([text])
    segmenter = segmenter_for(lang)
    spans = segmenter.spans(batch)
    assert [bytes(batch.data[a:b]).decode() for a, b in zip(spans.starts, spans.ends, strict=True)] == words
    assert segmenter.unit == "segmented_word" and segmenter.name.startswith(package)
