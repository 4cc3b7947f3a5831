"""Characters that nobody sees: taken out where they carry nothing, kept where a script or a reader needs them.

A run of them is judged as one, by its two visible neighbours. ZWNJ and ZWJ stay where letters join or stack (Arabic,
Indic, Burmese, Khmer and their kin) and ZWJ inside emoji; bidi controls stay in a document that has letters written
from the right; ZWSP stays between two Khmer letters, where the space bar of the standard keyboard types it (11,112
times in 997 FLORES sentences, one in 14 characters). Elsewhere ZWSP is the trace of an editor or a segmenter, and one
word comes to be spelled in two ways: th_thaigov 579 times in 2,108,638 characters; Lao 10,007 times in a third of
NTREX's lines and 3 times in all of FLORES. `strip` takes Khmer's too (NTREX: 28 lines of 1,007 have any; km_prompts:
none), for a corpus that is to have one spelling.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

MODES = ("none", "repair", "strip")
# Soft hyphen, Arabic letter mark, ZWSP, ZWNJ, ZWJ, LRM, RLM, embeddings, WJ, invisible operators, isolates, BOM, and
# the C0 and C1 controls but for tab and line ends.
_BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_INVISIBLE = f"\u00ad\u200b-\u200d\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb{_BIDI}"
_LINE_ENDS = "\x0b\x0c\x85"
_CONTROLS = "\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f"
_ANY = re.compile(f"[{_INVISIBLE}{_CONTROLS}{_LINE_ENDS}]")
_RUN = re.compile(f"[{_INVISIBLE}{_CONTROLS}]+")
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
_BIDI_MARK = re.compile(f"[{_BIDI}]")
_JOINING = (
    "Arabic", "Syriac", "Mongolian", "Nko", "Devanagari", "Bengali", "Gurmukhi", "Gujarati", "Oriya", "Tamil",
    "Telugu", "Kannada", "Malayalam", "Sinhala", "Myanmar", "Khmer", "Tibetan", "Balinese", "Javanese", "Sundanese",
    "Buginese", "Tai_Tham", "Cham", "Batak", "Lepcha", "Limbu", "Meetei_Mayek", "Newa",
)  # fmt: skip


def repair_zero_width(text: str, *, keep_khmer_breaks: bool = True) -> str:
    """`text` without invisible characters that carry nothing; vertical tab, form feed and NEL become line ends."""
    if _ANY.search(text) is None:
        return text
    for char in _LINE_ENDS:
        text = text.replace(char, "\n")
    right_to_left = _RIGHT_TO_LEFT.search(text) is not None
    joins, stacks, pictograph_before, pictograph = _patterns()

    def kept(match: re.Match[str]) -> str:
        run = match.group()
        before, after = text[max(match.start() - 2, 0) : match.start()], text[match.end() : match.end() + 1]
        last = before[-1:]
        result = ""
        if "\u200d" in run and (
            joins.match(last) or joins.match(after) or (pictograph_before.search(before) and pictograph.match(after))
        ):
            result = "\u200d"
        elif "\u200c" in run and joins.match(last) and (joins.match(after) or stacks.match(last)):
            result = "\u200c"
        if keep_khmer_breaks and "\u200b" in run and _is_khmer(last) and _is_khmer(after):
            result += "\u200b"
        return result + "".join(_BIDI_MARK.findall(run)) if right_to_left else result

    return _RUN.sub(kept, text)


def _is_khmer(char: str) -> bool:
    """Khmer letters, vowels and signs, not its digits and punctuation."""
    return "\u1780" <= char <= "\u17d3" or char in ("\u17d7", "\u17dc", "\u17dd")


@cache
def _patterns() -> tuple[Any, Any, Any, Any]:
    """A letter or mark that joins its neighbours; a virama; the end of an emoji; the beginning of one."""
    import regex

    scripts = "".join(rf"\p{{Script={name}}}" for name in _JOINING)
    return (
        regex.compile(rf"[[{scripts}]&&[\p{{L}}\p{{M}}]]", regex.V1),
        regex.compile(r"\p{InCB=Linker}|[\u0bcd\u0ccd\u0d4d\u0dca\u17d2\u1039\u0a4d\u094d\u09cd\u0acd\u0b4d\u0c4d]"),
        regex.compile(r"(?:\p{ExtPict}|[\ufe0f\u20e3\U0001f3fb-\U0001f3ff])$"),
        regex.compile(r"\p{ExtPict}"),
    )
