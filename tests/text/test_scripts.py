"""Which script a character, a text and a language are written in."""

from __future__ import annotations

import pytest

from seatools.text.scripts import main_script, script_of, scripts_of_language, writes_spaces


@pytest.mark.parametrize(
    ("char", "script"),
    [("a", "Latin"), ("é", "Latin"), ("ก", "Thai"), ("ั", "Thai"), ("ລ", "Lao"), ("က", "Myanmar"), ("ក", "Khmer")]
    + [("中", "Han"), ("の", "Hiragana"), ("ｱ", "Katakana"), ("ー", "Katakana"), ("д", "Cyrillic"), ("1", None)]
    + [("\u0301", None), (" ", None), ("!", None), ("ᦀ", "Tai"), ("ꨀ", "Cham")],
)
def test_script_of_a_character(char, script):
    assert script_of(char) == script


def test_main_script_is_that_of_most_letters():
    assert main_script("กข abc ค ง") == "Thai"
    assert main_script("123 !") is None


@pytest.mark.parametrize(
    ("text", "spaced"), [("สวัสดี ok", False), ("Xin chào các bạn", True), ("你好 hello", True), ("こんにちは", False)]
)
def test_whether_words_are_spaced(text, spaced):
    assert writes_spaces(text) is spaced


@pytest.mark.parametrize(
    ("tag", "scripts"),
    [("th", ("Thai",)), ("tha_Thai", ("Thai",)), ("sr-Latn-RS", ("Latin",)), ("ja", ("Han", "Hiragana", "Katakana"))]
    + [("zh-Hant", ("Han",)), ("EN", ("Latin",)), ("sr", None), ("xx", None)],
)
def test_scripts_of_a_language_tag(tag, scripts):
    assert scripts_of_language(tag) == scripts


@pytest.mark.parametrize(
    ("char", "script"), zip("\u212aKÅΩℵℹº", ("Latin",) * 3 + ("Greek", None, None, None), strict=True)
)
def test_symbols_are_no_scripts(char, script):
    """Audits counted tokens of scripts that were called Kelvin, Ohm, Information."""
    assert script_of(char) == script
