r"""Zawgyi: Burmese in the code points of Unicode but in an order and with meanings of its own. Found, and converted.

Found by what one encoding writes and the other cannot: in Unicode the vowel sign E and U+103B follow a letter and the
virama has one after it; Zawgyi has no U+103E and ends no syllable in U+103A. More of the one than of the other decides.
By document of ../shared/data, 78 of 78 (mono/my_voa) and 1,002 of 1,007 (ntrex/mya; the others are short and have no
sign of either) are called Zawgyi; 0 of 2,965 in Unicode are (flores200, sib200, global_mmlu_lite, my_shn_wiki), of
which 997 are Shan. Google's myanmartools says the same of 6,087 of 6,089 lines. 14 million characters a second.

Conversion: each syllable is taken apart (Zawgyi writes in visual order), its signs are translated and written in the
order of Unicode Technical Note 11, then NFC; 4 million characters a second. 99.6 % of the syllables of the two files
are then found in the texts in Unicode (before: 52 %; those texts among themselves: 99.5 %). The sets of code points
were chosen on these files; no Burmese reader has checked the result.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

_CONSONANTS = "\u1000-\u102a\u103f\u1050-\u1055\u105a-\u105d\u1061\u1065\u1066\u106e-\u1070\u1075-\u1081\u108e"
_EXTENDED = "\uaa60-\uaa6f\uaa71-\uaa76\uaa7a\uaa7e\uaa7f"  # Khamti, Aiton, Shan Pali
_LETTERS = f"{_CONSONANTS}\u103c-\u103e{_EXTENDED}"
_ONLY_ZAWGYI = re.compile(
    f"(?<![{_LETTERS}\u103b])\u1031|(?<![{_LETTERS}\u103a])\u103b|\u1039(?![\u1000-\u1021\u1075-\u1081])"
)
_ONLY_UNICODE = re.compile("\u103e|\u103a(?=[\u1037\u1038\u104a\u104b\\s]|$)")


def is_zawgyi(text: str) -> bool:
    """Whether more in the text is possible in Zawgyi alone than in Unicode alone; False for text in other scripts."""
    return len(_ONLY_ZAWGYI.findall(text)) > len(_ONLY_UNICODE.findall(text))


_RA = "\u103b\u107e-\u1084"
_BASE = "\u1000-\u102a\u1040\u1044\u1047\u104e\u106a\u106b\u106e\u106f\u1086\u108f-\u1092\u1097"
_SIGNS = (
    "\u102b-\u1030\u1032-\u103a\u103c\u103d\u103f\u105a\u1060-\u1069\u106c\u106d\u1070-\u107d\u1085"
    "\u1087-\u108e\u1093-\u1096"
)
_SYLLABLE = re.compile(f"([\u1031{_RA}]*)([{_BASE}])([{_SIGNS}]*)|[\u1031{_RA}{_SIGNS}]")
_SPACE_BEFORE_DOT = re.compile(" (?=[\u1037\u1094\u1095])")  # typed so (207 times in my_voa); no word begins with one
_KINZI, _ASAT, _E = "\u1004\u103a\u1039", "\u103a", "\u1031"
_BASES = {
    "\u106a": "\u1009", "\u106b": "\u100a", "\u106e": "\u100d\u1039\u100d", "\u106f": "\u100d\u1039\u100e",
    "\u1086": "\u103f", "\u108f": "\u1014", "\u1090": "\u101b", "\u1091": "\u100f\u1039\u100d",
    "\u1092": "\u100b\u1039\u100c", "\u1097": "\u100b\u1039\u100b",
}  # fmt: skip
_STACKED = {
    "\u1060": "\u1000", "\u1061": "\u1001", "\u1062": "\u1002", "\u1063": "\u1003", "\u1065": "\u1005",
    "\u1066": "\u1006", "\u1067": "\u1006", "\u1068": "\u1007", "\u1069": "\u1008", "\u106c": "\u100b",
    "\u106d": "\u100c", "\u1070": "\u100f", "\u1071": "\u1010", "\u1072": "\u1010", "\u1073": "\u1011",
    "\u1074": "\u1011", "\u1075": "\u1012", "\u1076": "\u1013", "\u1077": "\u1014", "\u1078": "\u1015",
    "\u1079": "\u1016", "\u107a": "\u1017", "\u107b": "\u1018", "\u107c": "\u1019", "\u1085": "\u101c",
    "\u1093": "\u1018", "\u1096": "\u1010",
}  # fmt: skip
# What else a sign stands for; K is kinzi.
_MEANS = {
    "\u1033": "\u102f", "\u1034": "\u1030", "\u103f": "\u1030", "\u1039": _ASAT, "\u103a": "\u103b", "\u107d": "\u103b",
    "\u103c": "\u103d", "\u103d": "\u103e", "\u1087": "\u103e", "\u105a": "\u102b\u103a", "\u1064": "K",
    "\u1088": "\u103e\u102f", "\u1089": "\u103e\u1030", "\u108a": "\u103d\u103e", "\u108b": "K\u102d",
    "\u108c": "K\u102e", "\u108d": "K\u1036", "\u108e": "\u102d\u1036", "\u1094": "\u1037", "\u1095": "\u1037",
    "\u1096": "\u103d",
}  # fmt: skip
_MEDIALS, _VOWELS, _AA = "\u103b\u103c\u103d\u103e", "\u102d\u102e\u1032\u102f\u1030", "\u102b\u102c"
_DIGITS_AS_LETTERS = {"\u1040": "\u101d", "\u1047": "\u101b"}  # they look alike, so people type them
_AFTER_ABBREVIATION = "\u1004\u1039\u1038"  # of the word that begins with U+104E, which looks like the digit four


def to_unicode(text: str) -> str:
    """A text in Zawgyi as Unicode, in NFC. Text that is in Unicode already is spoiled: ask `is_zawgyi` first."""
    return unicodedata.normalize("NFC", _SYLLABLE.sub(_converted, _SPACE_BEFORE_DOT.sub("", text)))


def _converted(match: re.Match[str]) -> str:
    before, base, after = match.groups()
    if base is None:
        return _ordered("", match.group())
    if base in _DIGITS_AS_LETTERS and (before or after or _is_letter(match)):
        base = _DIGITS_AS_LETTERS[base]
    elif base == "\u1044":
        base = "\u104e" if match.string.startswith(_AFTER_ABBREVIATION, match.end()) else base
    elif base == "\u104e" and not match.string.startswith("\u1004", match.end()):
        base = "\u104e\u1004\u103a\u1038"
    return _ordered(base, before + after)


def _is_letter(match: re.Match[str]) -> bool:
    """Whether a digit between letters and away from digits is the letter that looks like it."""
    left, right = match.string[match.start() - 1 : match.start()], match.string[match.end() : match.end() + 1]
    if any("\u1040" <= char <= "\u1049" for char in (left, right)):
        return False
    return any("\u1000" <= char <= "\u103f" or "\u1060" <= char <= "\u1097" for char in (left, right))


def _translated(signs: str) -> Iterator[str]:
    for sign in signs:
        if sign in _STACKED:
            yield "\u1039" + _STACKED[sign]
        if sign == "\u103b" or "\u107e" <= sign <= "\u1084":
            yield "\u103c"
        elif sign in _MEANS:
            yield from _MEANS[sign]
        elif sign not in _STACKED:
            yield sign


@lru_cache(maxsize=1 << 16)
def _ordered(base: str, zawgyi_signs: str) -> str:
    """One syllable: kinzi, base, stacked, medials, E, other vowels, AA, anusvara, dot, visarga.

    Its asat stands after AA or the medials if it was typed after them, else after the base.
    """
    base = _BASES.get(base, base)
    found = list(_translated(zawgyi_signs))
    stacked = [part for part in found if part[0] == "\u1039"]
    signs = {part: at for at, part in reversed(list(enumerate(found)))}  # sign -> where it first comes
    aa = next((sign for sign in _AA if sign in signs), "")
    place = ""
    if _ASAT in signs:
        at = signs.pop(_ASAT)
        typed_after = [medial for medial in "\u103b\u103d\u103e" if signs.get(medial, at) < at]
        place = "aa" if aa and signs[aa] < at else "medials" if typed_after else "base"
    if base == "\u1025" and (place or aa or stacked):
        base = "\u1009"
    elif base == "\u1025" and signs.pop("\u102e", None) is not None:
        base = "\u1026"
    elif base == "\u1005" and signs.pop("\u103b", None) is not None:
        base = "\u1008"
    elif base == "\u101e" and not stacked and signs.pop("\u103c", None) is not None:
        base = "\u1029"
        if place == "aa" and signs.pop(_E, None) is not None:
            base, aa, place = "\u102a", "", ""
    return "".join(
        (
            _KINZI if "K" in signs else "",
            base,
            *stacked,
            _ASAT if place == "base" else "",
            *(sign for sign in _MEDIALS if sign in signs),
            _ASAT if place == "medials" else "",
            _E if _E in signs else "",
            *(sign for sign in _VOWELS if sign in signs),
            aa,
            _ASAT if place == "aa" else "",
            "\u1036" if "\u1036" in signs else "",
            "\u1037" if "\u1037" in signs else "",
            "\u1038" * found.count("\u1038"),
        )
    )
