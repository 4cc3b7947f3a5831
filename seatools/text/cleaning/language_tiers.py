"""What language a document is in, by one of three tiers: its script, CLD2, or a fastText model of the user's.

`script` is built in and needs no model: a script that one language of the table writes names it, Vietnamese is known
by its letters, Shan by its own; Latin, Cyrillic, Arabic and Devanagari name none, and then only the script is compared.
`cld2` and `fasttext:FILE` (lid.176, GlotLID) fall back on the script where they are not sure. A language that the tier
does not know is never called a mismatch for another label: its script decides. Accuracy: docs/language-id.md. Of a
document the first 10,000 characters are looked at.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from seatools.streams.errors import SeaError, UsageError
from seatools.streams.extras import require
from seatools.streams.plugins import Plugin, find_function
from seatools.text.cleaning.character_counts import character_counts
from seatools.text.identify import identify, same_language
from seatools.text.scripts import script_of, scripts_of_language

BUILT_IN = ("script", "cld2", "fasttext")
MOST_CHARACTERS = 10_000
FASTTEXT_SURE = 0.5  # CCNet's limit
_OF_SCRIPT = {
    "Thai": "th", "Lao": "lo", "Khmer": "km", "Myanmar": "my", "Tamil": "ta", "Telugu": "te", "Sinhala": "si",
    "Hebrew": "he", "Greek": "el", "Bengali": "bn", "Hangul": "ko", "Hiragana": "ja", "Katakana": "ja", "Han": "zh",
    "Gujarati": "gu", "Gurmukhi": "pa", "Kannada": "kn", "Malayalam": "ml", "Georgian": "ka", "Armenian": "hy",
    "Tibetan": "bo",
}  # fmt: skip
# Letters of Vietnamese that no other language of the table has: horned vowels, and two marks on one vowel.
_VIETNAMESE = frozenset("ơưấầẩẫậắằẳẵặếềểễệốồổỗộớờởỡợứừửữự")
_SHAN = frozenset("\u1075\u1076\u1078\u107c\u1081\u1086")
_VIETNAMESE_SHARE = 0.02
_SHAN_SHARE = 0.1
_KANA_SHARE = 0.1


class Identified(NamedTuple):
    """What was found; None: not sure of any language, no letters."""

    lang: str | None
    script: str | None


def script_tier(text: str) -> Identified:
    """The script of most letters, and the language that it names."""
    letters = character_counts(text[:MOST_CHARACTERS].lower())
    scripts: Counter[str] = Counter()
    for char, count in letters.items():
        if (script := script_of(char)) is not None:
            scripts[script] += count
    if not scripts:
        return Identified(None, None)
    main = min(scripts, key=lambda script: (-scripts[script], script))
    total = scripts.total()
    if main == "Latin":
        horned = sum(letters.get(char, 0) for char in _VIETNAMESE)
        return Identified("vi" if horned > _VIETNAMESE_SHARE * total else None, main)
    if main == "Myanmar" and sum(letters.get(char, 0) for char in _SHAN) > _SHAN_SHARE * total:
        return Identified("shn", main)
    if main == "Han" and scripts["Hiragana"] + scripts["Katakana"] > _KANA_SHARE * total:
        return Identified("ja", main)
    return Identified(_OF_SCRIPT.get(main), main)


class LanguageTier:
    """`script`, `cld2` or `fasttext:FILE`. Errors: UsageError for another name, SeaError for what is missing."""

    def __init__(self, name: str) -> None:
        self.name = name
        kind, _, path = name.partition(":")
        if kind == "script" and not path:
            self.known: Collection[str] = {*_OF_SCRIPT.values(), "vi", "shn"}
            self._model: Callable[[str], str | None] | None = None
        elif kind == "cld2" and not path:
            cld2 = require("pycld2")
            self.known = {same_language(code) for name, code in cld2.LANGUAGES if name in cld2.DETECTED_LANGUAGES}
            self._model = identify
        elif kind == "fasttext" and path:
            self._model, self.known = _fasttext(path)
        elif kind not in BUILT_IN and (found := find_function("sea.lid", name)) is not None:
            self._model, self.known = _plugin(*found)
        else:
            raise UsageError(f'no language identifier "{name}"', fix="--lang-id script, cld2 or fasttext:FILE")

    def identify(self, text: str) -> Identified:
        """The language and the script of a document."""
        by_script = script_tier(text)
        if self._model is None or by_script.script is None:  # fastText names a language even for no text at all
            return by_script
        if by_script.lang is not None and by_script.lang not in self.known:  # CLD2 calls all Shan Burmese
            return by_script
        return Identified(self._model(text[:MOST_CHARACTERS]) or by_script.lang, by_script.script)

    def agrees(self, found: Identified, tag: str) -> bool:
        """Whether a document in which `found` was found may be in the language `tag`."""
        wanted = same_language(tag)
        # No other language has the letters by which Vietnamese is known, not even one that the tier does not know.
        if found.lang is not None and (wanted in self.known or (self._model is None and found.lang == "vi")):
            return found.lang == wanted
        scripts = scripts_of_language(tag)
        return scripts is None or found.script is None or found.script in scripts

    def is_in(self, found: Identified, tag: str) -> bool:
        """Whether `found` is the language `tag`, as far as this tier can tell: by its script if it does not know it."""
        return found.lang == same_language(tag) if self.knows(tag) else self.agrees(found, tag)

    def knows(self, tag: str) -> bool:
        """Whether this tier tells the language from all others that it knows."""
        return same_language(tag) in self.known


def _fasttext(path: str) -> tuple[Callable[[str], str | None], frozenset[str]]:
    if not os.path.isfile(path):
        raise SeaError(f"{path}: no such file", fix="--lang-id fasttext:lid.176.ftz, or another model of that kind")
    try:
        model = require("fasttext").load_model(path)
    except ValueError as error:
        raise SeaError(f"{path}: no fastText model: {error}", fix="a .bin or .ftz that fastText saved") from error

    def language(text: str) -> str | None:
        labels, shares = model.predict(" ".join(text.split()))
        return same_language(labels[0].removeprefix("__label__")) if labels and shares[0] >= FASTTEXT_SURE else None

    labels, _ = model.predict("a", k=-1, threshold=-1.0)
    if not all(label.startswith("__label__") for label in labels):
        raise SeaError(f"{path}: its labels are not languages (__label__th)")
    return language, frozenset(same_language(label.removeprefix("__label__")) for label in labels)


def _plugin(plugin: Plugin, function: Any) -> tuple[Callable[[str], str | None], frozenset[str]]:
    """A function `(text) -> code | None` of an installed package, whose `languages` are the codes that it may give."""
    languages = getattr(function, "languages", None)
    if isinstance(languages, str) or not isinstance(languages, Collection):
        raise plugin.failed("cannot be used", "its `languages` is no list of the codes that it tells apart")

    def language(text: str) -> str | None:
        code = plugin.call(function, text)
        if code is not None and not isinstance(code, str):
            raise plugin.failed("failed", f"it gave {code!r}, neither a code nor None")
        return None if code is None else same_language(code)

    return language, frozenset(same_language(str(code)) for code in languages)
