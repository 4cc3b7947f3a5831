"""What is told about a language's text, and what --normalize does to it."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from seatools.streams.errors import UsageError
from seatools.text.text_warnings import MOST_DOCUMENTS, NORMALISERS, TextChecks, TextShares, normaliser, sentences
from seatools.text.zawgyi import to_unicode

THAI = "มนุษย์ทั้งหลายเกิดมามีอิสระ (Universal Declaration)"
ENGLISH = "All human beings are born free and equal."
ZAWGYI = "ေက်ာင္းသားမ်ားသည္ ျမန္မာ"


def checked(lang: str, *texts: str) -> TextChecks:
    checks = TextChecks(lang)
    for text in texts:
        checks.add(text)
    return checks


def test_clean_text_gets_no_warning() -> None:
    assert checked("th", *[THAI] * 20, ENGLISH, "12345").warnings() == []
    assert checked("th").warnings() == []
    assert checked("th").shares().num_checked == 0


def test_text_in_another_script_than_its_label_says() -> None:
    checks = checked("th", THAI, ENGLISH, ENGLISH, "12345")
    assert checks.shares() == TextShares(
        lang="th",
        scripts=("Thai",),
        num_docs=4,
        num_checked=4,
        other_script={"Latin": 0.5},
        not_nfc=0.0,
        zawgyi=0.0,
    )
    (warning,) = checks.warnings()
    assert warning == "th: 50% of the documents are mostly in another script (Latin) than Thai: is the label right?"
    assert checked("xx", THAI, ENGLISH).warnings() == []  # a language that is not in the table


def test_text_that_is_not_in_nfc() -> None:
    decomposed = unicodedata.normalize("NFD", "tiếng Việt")
    (warning,) = checked("vi", decomposed, "tiếng Việt").warnings()
    assert warning.startswith("vi: 50% of the documents are not in NFC") and "--normalize nfc" in warning
    assert checked("vi", *map(normaliser("nfc"), [decomposed] * 9)).warnings() == []


def test_zawgyi_is_told_and_mended() -> None:
    (warning,) = checked("my", ZAWGYI, ZAWGYI).warnings()
    assert warning.startswith("my: 100% of the documents are in Zawgyi") and "--normalize zawgyi" in warning
    assert checked("my", *map(normaliser("zawgyi"), [ZAWGYI] * 2)).warnings() == []


def test_the_shared_files_of_thirty_languages(shared: Path) -> None:
    told = {}
    for path in sorted((shared / "data/flores200/dev").glob("*.txt")):
        told[path.stem] = checked(path.stem, *path.read_text("utf-8").splitlines()).warnings()
    assert {lang for lang, warnings in told.items() if any("script" in line for line in warnings)} == set()
    assert {lang for lang, warnings in told.items() if any("Zawgyi" in line for line in warnings)} == set()
    assert told["mya_Mymr"] == [] or "NFC" in told["mya_Mymr"][0]
    zawgyi = checked("mya", *(shared / "data/ntrex/mya.txt").read_text("utf-8").splitlines()).warnings()
    assert len(zawgyi) == 1 and "Zawgyi" in zawgyi[0]


@pytest.mark.parametrize("num", [1, MOST_DOCUMENTS - 1, MOST_DOCUMENTS, 5 * MOST_DOCUMENTS + 3])
def test_the_sample_is_bounded_and_even(num: int) -> None:
    # The second half of the documents is English: the shares show it whatever the number.
    checks = checked("th", *(THAI if at < num / 2 else ENGLISH for at in range(num)))
    shares = checks.shares()
    assert shares.num_docs == num
    assert min(num, MOST_DOCUMENTS // 2) <= shares.num_checked <= MOST_DOCUMENTS
    assert shares.other_script.get("Latin", 0.0) == pytest.approx((num - (num + 1) // 2) / num, abs=0.002)


def test_normalisers() -> None:
    mixed = ["x\u0301 " + THAI, ZAWGYI, unicodedata.normalize("NFD", "é")]
    assert [normaliser("none")(text) for text in mixed] == mixed
    nfc = [unicodedata.normalize("NFC", text) for text in mixed]
    assert [normaliser("nfc")(text) for text in mixed] == nfc
    assert [normaliser("zawgyi")(text) for text in mixed] == [nfc[0], to_unicode(ZAWGYI), nfc[2]]
    assert NORMALISERS == ("none", "nfc", "zawgyi")
    with pytest.raises(UsageError, match="nfd"):
        normaliser("nfd")


def test_sentences_are_few_and_about_what_matters_most() -> None:
    shares = TextShares(
        lang="my", scripts=("Myanmar",), num_docs=9, num_checked=9, other_script={}, not_nfc=1.0, zawgyi=1.0
    )
    assert len(sentences(shares)) == 1 and "Zawgyi" in sentences(shares)[0]
