"""Any number in any digits and any locale's separators reads back; what is no number stays none."""

from __future__ import annotations

import re
import time
import unicodedata
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatools.eval.number_formats import COMMA_DECIMAL, MIXED, base_language, numbers, plain, read_number, same_number

ZEROS = "0๐໐០၀႐०০௦౦٠０"  # ASCII, Thai, Lao, Khmer, Burmese, Shan, Devanagari, Bengali, Tamil, Telugu, Arabic, wide
COMMAS, POINTS = (
    ["id", "vi", "de", "es", "fr", "pt", "ru", "jv"],
    ["en", "th", "zh", "ms", "tl", "my", "ta", "ja", "lo", "km"],
)


def in_digits(text: str, zero: str) -> str:
    return "".join(chr(ord(zero) + int(sign)) if sign.isascii() and sign.isdigit() else sign for sign in text)


def grouped(digits: str, separator: str, indian: bool = False) -> str:
    head, tail = digits[:-3], digits[-3:]
    size = 2 if indian else 3
    parts = [tail]
    while head:
        parts.insert(0, head[-size:])
        head = head[:-size]
    return separator.join(part for part in parts if part)


def values(text: str, lang: str) -> list[Decimal]:
    return [found.value for found in numbers(plain(text), lang)]


@st.composite
def written(draw: st.DrawFn) -> tuple[str, str, Decimal]:
    """(text, language, value): a number as the language writes it."""
    lang = draw(st.sampled_from(COMMAS + POINTS))
    whole = str(draw(st.integers(0, 10**12)))
    # A decimal part of three digits that ends in 0 is nobody's way to write a tenth; see the test of 5,600.
    rest = draw(st.one_of(st.just(""), st.from_regex(r"[0-9]{0,4}[1-9]", fullmatch=True)))
    if lang in MIXED and len(rest) == 3:
        rest += "1"  # both conventions are in use, and 1.234 is a thousand
    point, thousands = (",", [".", "\u00a0", "\u202f", ""]) if lang in COMMA_DECIMAL else (".", [",", "'", ""])
    separator = draw(st.sampled_from(thousands))
    text = grouped(whole, separator, indian=separator == "," and draw(st.booleans())) + (point + rest if rest else "")
    sign = draw(st.sampled_from(["", "-", "−", "－"]))
    value = Decimal(whole + ("." + rest if rest else ""))
    return sign + in_digits(text, draw(st.sampled_from(ZEROS))), lang, -value if sign else value


@given(written())
def test_every_number_reads_back(case: tuple[str, str, Decimal]) -> None:
    text, lang, value = case
    assert values(text, lang) == [value]
    assert values(f"= {text} ", lang) == [value]
    assert values(f"$ {text}.", lang) == [value]


def test_every_digit_of_unicode_is_read() -> None:
    digits = [chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) == "Nd"]
    assert len(digits) > 600
    assert all(plain(digit) == str(unicodedata.decimal(digit)) for digit in digits)


@pytest.mark.parametrize(
    ("lang", "token", "value"),
    [
        ("en", "1,234", "1234"), ("th", "1,234", "1234"), ("zh", "1,234", "1234"), ("ms", "1.234", "1.234"),
        ("id", "1.234", "1234"), ("vi", "1.234", "1234"), ("de", "1.234", "1234"), ("id", "1,234", "1.234"),
        ("id", "12,5", "12.5"), ("en", "12,5", "12.5"), ("vi", "0,125", "0.125"), ("id", "0.125", "0.125"),
        ("en", "12,34,567", "1234567"), ("de", "1,234.56", "1234.56"), ("en", "1.234,56", "1234.56"),
        ("en", "1.234.567", "1234567"), ("de", "5,600", "5600"), ("fr", "5,600", "5600"), ("en", "18.00", "18"),
        ("ar", "1٬234٫5", "1234.5"), ("jv", "783,562", "783562"), ("su", "2.220", "2220"), ("lo", "0.125", "0.125"),
        ("fr", "3 000", "3000"), ("ru", "1 234 567,8", "1234567.8"),
        ("de", "1'234.50", "1234.5"),
    ],
)  # fmt: skip
def test_separators_by_locale(lang: str, token: str, value: str) -> None:
    assert read_number(token, lang) == Decimal(value)


@pytest.mark.parametrize("token", ["1.2.3", "1,23,4", "1.23.456,7", "1,234.567.8"])
def test_no_number_is_made_of_versions_and_lists(token: str) -> None:
    assert read_number(token, "en") is None


@pytest.mark.parametrize(
    ("lang", "text", "expected"),
    [
        ("en", "3/4 of it, 12/05/2024 at 5:30, 1 1/2 cups, 7½", []),
        ("en", "23 - 15 = 8", [23, 15, 8]),
        ("en", "10-5, A-5, (3)-2", [10, 5, 5, 3, 2]),
        ("th", "คำตอบคือ-5", [-5]),
        ("en", "-$5 and $-6 and US$7", [-5, -6, 7]),
        ("id", "Rp12.500 atau 50%", [12500, 50]),
        ("en", "2, 5, 7 or 2,5,7", [2, 5, 7, 2, 5, 7]),
        ("en", "in 2019 100 people", [2019, 100]),
        ("th", "3 000", [3, 0]),
        ("zh", "3万5000和1亿2000万", [35000, 120000000]),
        ("id", "5 ribu, 2 juta", [5000, 2000000]),
        ("vi", "3 triệu, 2 nghìn tỷ", [3000000, 2 * 10**12]),
        ("th", "2.3 พันล้าน", [2300000000]),
        ("es", "2 mil millones, 2 mil", [2 * 10**9, 2000]),
        ("lo", "2,243 ແລະ 2.5", [2243, Decimal("2.5")]),
        ("th", "3 พันบาท แต่ 3 พันธุ์", [3000, 3]),
        ("en", "4 millions, 4 millionaires, 4 miles", [4000000, 4, 4]),
        ("zh", "第2题：11", [2, 11]),
        ("en", "", []),
    ],
)
def test_numbers_of_a_text(lang: str, text: str, expected: list[Any]) -> None:
    assert values(text, lang) == expected


def test_tolerance_is_relative_and_zero_is_zero() -> None:
    assert same_number(Decimal("18.00"), Decimal(18))
    assert same_number(Decimal("1000000.5"), Decimal(1000000), tolerance=1e-6)
    assert not same_number(Decimal("18.001"), Decimal(18))
    assert not same_number(Decimal("0.0000001"), Decimal(0))
    assert not same_number(Decimal(-5), Decimal(5))


def test_tags_of_one_language_read_alike() -> None:
    assert [base_language(tag) for tag in ("th_TH", "tha_Thai", "TH", "zsm_Latn", "zho_Hans")] == [
        "th",
        "th",
        "th",
        "ms",
        "zh",
    ]


def test_long_lists_are_read_one_by_one() -> None:
    assert values(",".join(map(str, range(1, 41))), "en") == list(range(1, 41))
    assert values(" ".join(map(str, range(1, 41))), "fr") == list(range(1, 41))
    assert values("5,5 ", "en") == [Decimal("5.5")]


@pytest.mark.parametrize(
    "text", ["1," * 20000, "1 " * 20000, "1/" * 20000, "5+" * 20000, "9" * 20000, "-" * 20000, "$ " * 9999]
)
def test_endless_answers_take_linear_time(text: str) -> None:
    start = time.perf_counter()
    values(text, "fr")
    assert time.perf_counter() - start < 2


PARALLEL = {
    "tha_Thai": "th", "lao_Laoo": "lo", "khm_Khmr": "km", "vie_Latn": "vi", "tgl_Latn": "tl", "jav_Latn": "jv",
    "sun_Latn": "su", "zho_Hans": "zh", "tur_Latn": "tr",
}  # fmt: skip


@pytest.mark.parametrize(("name", "lang"), PARALLEL.items())
def test_parallel_texts_hold_the_same_numbers(shared: Path, name: str, lang: str) -> None:
    """Every large or broken number with separators of FLORES' English lines stands in the translations too."""
    lines = [
        sorted((shared / "data/flores200/dev").glob(f"{tag}*"))[0].read_text().splitlines()
        for tag in ("eng_Latn", name)
    ]
    missing, asked = [], 0
    for english, other in zip(*lines, strict=True):
        if not re.search(r"\d[.,]\d", english):
            continue
        found = values(other, lang)
        wanted = [value for value in values(english, "en") if value >= 2100 or value != int(value)]
        asked += len(wanted)
        missing += [(value, other) for value in wanted if value not in found]
    assert asked == 41
    assert missing == []
