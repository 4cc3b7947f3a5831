"""Writing systems: of a character by its Unicode name, of a language by its tag, and which put no space between words.

The first word of a letter's name is its script ("THAI CHARACTER KO KAI"), which the standard library knows, whereas the
Script property it does not. Good enough to say what a text or a token is written in: marks that many scripts share,
digits and punctuation have none. Tags name scripts by ISO 15924 (`sr-Latn`, `tha_Thai`).
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import lru_cache

from seatools.text.language_tags import base_language

# No white space between words (Tibetan, Javanese and Balinese included): tokens per white-space word mean nothing.
UNSPACED = frozenset(
    ("Thai", "Lao", "Khmer", "Myanmar", "Han", "Hiragana", "Katakana", "Tibetan", "Tai", "Javanese", "Balinese")
)
# Marks and symbols that Unicode counts as letters, of which some are named after what they stand for.
_SHARED = frozenset(
    ("COMBINING", "MODIFIER", "VARIATION", "MUSICAL", "MATHEMATICAL", "DOUBLE-STRUCK", "SCRIPT", "FEMININE",
     "MASCULINE", "ALEF", "BET", "GIMEL", "DALET", "BLACK-LETTER", "CARON", "EULER", "INFORMATION", "MASU", "MICRO",
     "PLANCK", "VERTICAL")
)  # fmt: skip
_RENAMED = {
    "CJK": "Han", "IDEOGRAPHIC": "Han", "VIETNAMESE": "Han", "HALFWIDTH": "Katakana", "KATAKANA-HIRAGANA": "Katakana",
    "HENTAIGANA": "Hiragana", "FULLWIDTH": "Latin", "SUPERSCRIPT": "Latin", "TURNED": "Latin", "ROMAN": "Latin",
    "KELVIN": "Latin", "ANGSTROM": "Latin", "OHM": "Greek", "NEW": "Tai",
}  # fmt: skip
# ISO 15924 -> the scripts that a text in it is written with.
_OF_CODE: dict[str, tuple[str, ...]] = {
    "Latn": ("Latin",), "Thai": ("Thai",), "Laoo": ("Lao",), "Khmr": ("Khmer",), "Mymr": ("Myanmar",),
    "Taml": ("Tamil",), "Telu": ("Telugu",), "Deva": ("Devanagari",), "Beng": ("Bengali",), "Sinh": ("Sinhala",),
    "Tibt": ("Tibetan",), "Arab": ("Arabic",), "Hebr": ("Hebrew",), "Cyrl": ("Cyrillic",), "Grek": ("Greek",),
    "Hang": ("Hangul",), "Hani": ("Han",), "Hans": ("Han",), "Hant": ("Han",), "Kore": ("Hangul", "Han"),
    "Kana": ("Katakana", "Hiragana"), "Jpan": ("Han", "Hiragana", "Katakana"),
}  # fmt: skip
_LANGUAGES: dict[str, str] = {
    "Latn": "en eng vi vie id ind ms msa zsm tl tgl fil jv jav su sun ceb ilo min ban de deu fr fra es spa pt por it "
            "ita nl nld tr tur sw swa hu hun sl slv hmn",
    "Thai": "th tha", "Laoo": "lo lao", "Khmr": "km khm", "Mymr": "my mya shn", "Taml": "ta tam", "Telu": "te tel",
    "Deva": "hi hin mr mar ne nep", "Beng": "bn ben", "Sinh": "si sin", "Arab": "ar ara arb fa fas ur urd",
    "Hebr": "he heb", "Cyrl": "ru rus bg bul uk ukr", "Grek": "el ell", "Kore": "ko kor", "Hani": "zh zho",
    "Jpan": "ja jpn",
}  # fmt: skip
_CODE_OF = {lang: code for code, langs in _LANGUAGES.items() for lang in langs.split()}


@lru_cache(maxsize=1 << 17)
def script_of(char: str) -> str | None:
    """ "Thai", "Latin", "Han", ...; None for what is no letter or mark of one script."""
    if unicodedata.category(char)[0] not in "LM":
        return None
    first = unicodedata.name(char, "").split(" ")[0]
    if not first or first in _SHARED:
        return None
    return _RENAMED.get(first, first.capitalize())


def known_languages() -> tuple[str, ...]:
    """The codes, of two letters where there are such, whose usual script is known."""
    return tuple(sorted({base_language(lang) for lang in _CODE_OF}))


def known_scripts() -> frozenset[str]:
    """Every name that `script_of` gives. Cost: 0.3 s."""
    found = {script_of.__wrapped__(chr(code)) for code in range(0x110000)}
    return frozenset(script for script in found if script is not None)


def script_counts(text: str) -> Counter[str]:
    """Script -> how many letters of it are in `text`."""
    return Counter(script for char in text if (script := script_of(char)) is not None)


def main_script(text: str) -> str | None:
    """The script of most of the letters; None if there are none."""
    counts = script_counts(text)
    return min(counts, key=lambda script: (-counts[script], script)) if counts else None


def writes_spaces(text: str) -> bool:
    """Whether most letters belong to scripts with spaces between words."""
    counts = script_counts(text)
    return 2 * sum(counts[script] for script in UNSPACED) < counts.total()


def scripts_of_language(tag: str) -> tuple[str, ...] | None:
    """The scripts of a language tag (`th`, `sr-Latn`, `tha_Thai`, `ja`); a script in the tag wins.

    None for a language that is not in the table or may be written in several.
    """
    subtags = re.split("[-_]", tag)
    code = next((code for subtag in subtags[1:] if (code := subtag.title()) in _OF_CODE), None)
    return _OF_CODE.get(code or _CODE_OF.get(subtags[0].lower(), ""))
