"""Text under the label of a language with another script is told."""

from __future__ import annotations

import pytest

from seatools.lsn_detect.script_check import script_warning

TEXTS = {
    "th": "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ",
    "lo": "ມະນຸດທຸກຄົນເກີດມາມີກຽດສັກສີ ສິດທິ ເສລີພາບ ແລະ ຄວາມສະເໝີພາບເທົ່າທຽມກັນ",
    "km": "មនុស្សទាំងអស់កើតមកមានសេរីភាពនិងភាពស្មើៗគ្នាក្នុងសេចក្ដីថ្លៃថ្នូរនិងសិទ្ធិ",
    "my": "လူတိုင်းသည် တူညီ လွတ်လပ်သော ဂုဏ်သိက္ခာဖြင့် လည်းကောင်း တူညီလွတ်လပ်သော",
    "vi": "Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền lợi",
    "en": "All human beings are born free and equal in dignity and rights and so forth",
    "zh": "人人生而自由在尊严和权利上一律平等他们赋有理性和良心并应以兄弟关系的精神相对待" * 2,
    "ja": "すべての人間は生まれながらにして自由でありかつ尊厳と権利とについて平等である" * 2,
    "ta": "மனிதப் பிறிவியினர் சகலரும் சுதந்திரமாகவே பிறக்கின்றனர் அவர்கள் மதிப்பிலும்",
    "ar": "يولد جميع الناس أحرارا متساوين في الكرامة والحقوق وقد وهبوا عقلا وضميرا وعليهم",
}


@pytest.mark.parametrize("lang", TEXTS)
def test_text_in_its_own_script_passes(lang):
    assert script_warning(lang, [TEXTS[lang]]) is None


@pytest.mark.parametrize("lang", [lang for lang in TEXTS if lang not in ("en", "vi")])
def test_english_under_another_label_is_told(lang):
    assert "100 % are Latin" in (script_warning(lang, [TEXTS["en"]]) or "")


def test_a_script_in_the_tag_wins_and_an_unknown_language_is_not_judged():
    assert script_warning("sr-Cyrl", [TEXTS["en"]])
    assert script_warning("tha_Thai", [TEXTS["th"]]) is None
    assert script_warning("xx", [TEXTS["th"]]) is None
