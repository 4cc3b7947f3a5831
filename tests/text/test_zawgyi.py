"""Zawgyi is told from Unicode on real text, and becomes it."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatools.text.zawgyi import is_zawgyi, to_unicode

# A pangram that uses most letters, kinzi and stacked ones, as typed in both encodings.
PANGRAM_ZAWGYI = "သီဟိုဠ္မွ ဉာဏ္ႀကီးရွင္သည္ အာယုဝၯနေဆးၫႊန္းစာကို ဇလြန္ေဈးေဘးဗာဒံပင္ထက္ အဓိ႒ာန္လ်က္ ဂဃနဏဖတ္ခဲ့သည္။"
PANGRAM = "သီဟိုဠ်မှ ဉာဏ်ကြီးရှင်သည် အာယုဝဍ္ဎနဆေးညွှန်းစာကို ဇလွန်ဈေးဘေးဗာဒံပင်ထက် အဓိဋ္ဌာန်လျက် ဂဃနဏဖတ်ခဲ့သည်။"
SYLLABLE = re.compile(
    "[\u1000-\u102a\u103f\u104e](?:\u1039[\u1000-\u1021])*[\u102b-\u1032\u1036-\u103e]*|[\u102b-\u103e]"
)


def documents(path: Path) -> list[str]:
    """Lines of a text file; all strings of each record of a JSONL file. Those with a Burmese letter."""
    lines = path.read_text("utf-8").splitlines()
    if path.suffix == ".jsonl":
        lines = ["\n".join(map(str, json.loads(line).values())) for line in lines]
    return [text for text in lines if re.search("[\u1000-\u109f]", text)]


UNICODE = (
    "flores200/dev/mya_Mymr.txt", "flores200/dev/shn_Mymr.txt", "sib200/mya_Mymr.jsonl", "mono/my_shn_wiki.jsonl",
    "global_mmlu_lite/my.dev.jsonl", "global_mmlu_lite/my.test.jsonl",
)  # fmt: skip


@pytest.mark.parametrize("name", UNICODE)
def test_burmese_and_shan_in_unicode_are_never_called_zawgyi(shared: Path, name: str) -> None:
    texts = documents(shared / "data" / name)
    assert texts and not any(map(is_zawgyi, texts))


@pytest.mark.parametrize(("name", "missed"), [("mono/my_voa.jsonl", 0), ("ntrex/mya.txt", 5)])
def test_zawgyi_is_found(shared: Path, name: str, missed: int) -> None:
    texts = documents(shared / "data" / name)
    assert len(texts) - sum(map(is_zawgyi, texts)) == missed
    assert all(is_zawgyi(text) for text in texts if len(text) > 75)


def test_other_languages_of_the_script_and_other_scripts(shared: Path) -> None:
    found = set()
    for line in (shared / "data/udhr/udhr_all.jsonl").read_text("utf-8").splitlines():
        record = json.loads(line)
        text = "\n".join(map(str, record["paragraphs"]))
        found |= {record["key"]} if re.search("[\u1000-\u109f]", text) else set()
        assert not is_zawgyi(text), record["key"]
    assert {"mya", "shn"} <= found  # Mon is there too
    assert not is_zawgyi("") and not is_zawgyi("Zawgyi")


@pytest.mark.parametrize("name", ["mono/my_voa.jsonl", "ntrex/mya.txt"])
def test_converted_text_is_unicode_burmese(shared: Path, name: str) -> None:
    reference = Counter(
        syllable
        for file in ("flores200/dev/mya_Mymr.txt", "global_mmlu_lite/my.dev.jsonl", "global_mmlu_lite/my.test.jsonl")
        for text in documents(shared / "data" / file)
        for syllable in SYLLABLE.findall(unicodedata.normalize("NFC", text))
    )
    converted = [to_unicode(text) for text in documents(shared / "data" / name)]
    assert not any(map(is_zawgyi, converted))
    assert all(unicodedata.is_normalized("NFC", text) for text in converted)
    assert not re.search("[\u1033-\u1035\u105a-\u1097]", "".join(converted))
    syllables = Counter(syllable for text in converted for syllable in SYLLABLE.findall(text))
    known = sum(count for syllable, count in syllables.items() if syllable in reference)
    assert known > 0.995 * syllables.total()


def test_a_pangram() -> None:
    assert is_zawgyi(PANGRAM_ZAWGYI) and not is_zawgyi(PANGRAM)
    assert to_unicode(PANGRAM_ZAWGYI) == PANGRAM


@pytest.mark.parametrize(
    ("zawgyi", "unicode"),
    [
        ("ျမန္မာ", "မြန်မာ"),  # ra is typed before its letter
        ("ေက်ာင္း", "ကျောင်း"),  # E first, medial ya
        ("အဂၤလိပ္", "အင်္ဂလိပ်"),  # kinzi after its letter
        ("ေယာက္်ား", "ယောက်ျား"),  # an asat before the medial stays there
        ("ေပၚ", "ပေါ်"),  # one sign for AA and asat
        ("၄င္း", "၎င်း"),  # the digit four for U+104E
        ("၀င္ ၇ႊာ ၁၀ ၂၀၀၇", "ဝင် ရွှာ ၁၀ ၂၀၀၇"),  # digits for the letters wa and ra, and digits
        ("ၾသဂုတ္", "ဩဂုတ်"),
        ("ဦး ဥကၠ႒", "ဦး ဥက္ကဋ္ဌ"),
        ("ကို ့", "ကို့"),
        ("abc 123 ไทย", "abc 123 ไทย"),
    ],
)
def test_words(zawgyi: str, unicode: str) -> None:
    assert to_unicode(zawgyi) == unicodedata.normalize("NFC", unicode)


@given(st.text(st.sampled_from([chr(code) for code in range(0x1000, 0x10A0)]) | st.sampled_from(" a\n")))
def test_anything_can_be_converted_and_other_characters_stay(text: str) -> None:
    converted = to_unicode(text)
    assert not re.search("[\u105a\u1060-\u1069\u106c\u106d\u1070-\u1085]", converted)
    assert [char for char in converted if char in "a\n"] == [char for char in text if char in "a\n"]
