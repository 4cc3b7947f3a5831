"""Is a text written in the script of its language? The check that catches `--lang th=english.txt`.

Counts the letters of a sample by Unicode block (combining marks of a block count with it). A language that is not
in the table, or may be written in several scripts, is not judged; a script in the tag (`sr-Latn`, `tha_Thai`) wins.
Latin text cannot be told apart by this: English under the label `id` goes unnoticed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_BLOCKS: dict[str, str] = {
    "Latn": "A-Za-z\u00aa\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u0300-\u036f\u1e00-\u1eff",
    "Thai": "\u0e01-\u0e7f", "Laoo": "\u0e80-\u0eff", "Khmr": "\u1780-\u17ff",
    "Mymr": "\u1000-\u109f\ua9e0-\ua9fe\uaa60-\uaa7f", "Taml": "\u0b80-\u0bff", "Telu": "\u0c00-\u0c7f",
    "Deva": "\u0900-\u097f", "Beng": "\u0980-\u09ff", "Sinh": "\u0d80-\u0dff", "Tibt": "\u0f00-\u0fff",
    "Arab": "\u0600-\u06ff\u0750-\u077f\ufb50-\ufdff\ufe70-\ufeff", "Hebr": "\u0590-\u05ff",
    "Cyrl": "\u0400-\u052f", "Grek": "\u0370-\u03ff\u1f00-\u1fff", "Hang": "\u1100-\u11ff\u3130-\u318f\uac00-\ud7af",
    "Hani": "\u3005\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003134f", "Kana": "\u3040-\u30ff",
}  # fmt: skip
_JOINED = {"Hans": ("Hani",), "Hant": ("Hani",), "Jpan": ("Hani", "Kana"), "Kore": ("Hang", "Hani")}
_LANGUAGES: dict[str, str] = {
    "Latn": "en eng vi vie id ind ms msa zsm tl tgl fil jv jav su sun ceb ilo min ban de deu fr fra es spa pt por it "
            "ita nl nld tr tur sw swa hu hun sl slv hmn",
    "Thai": "th tha", "Laoo": "lo lao", "Khmr": "km khm", "Mymr": "my mya shn", "Taml": "ta tam", "Telu": "te tel",
    "Deva": "hi hin mr mar ne nep", "Beng": "bn ben", "Sinh": "si sin", "Arab": "ar ara arb fa fas ur urd",
    "Hebr": "he heb", "Cyrl": "ru rus bg bul uk ukr", "Grek": "el ell", "Kore": "ko kor", "Hani": "zh zho",
    "Jpan": "ja jpn",
}  # fmt: skip
_SCRIPT_OF = {lang: script for script, langs in _LANGUAGES.items() for lang in langs.split()}
_PATTERNS = {script: re.compile(f"[{block}]") for script, block in _BLOCKS.items()}

ENOUGH = 0.5
MIN_LETTERS = 50


def expected_script(lang: str) -> str | None:
    """The ISO 15924 code for a tag (`th`, `sr-Latn`, `tha_Thai`), or None where it cannot be known."""
    subtags = re.split("[-_]", lang)
    for subtag in subtags[1:]:
        if (script := subtag.title()) in _BLOCKS or script in _JOINED:
            return script
    return _SCRIPT_OF.get(subtags[0].lower())


def script_warning(lang: str, texts: Iterable[str]) -> str | None:
    """A sentence if less than half of the letters of `texts` are of the script of `lang`, else None."""
    script = expected_script(lang)
    if script is None:
        return None
    sample = "".join(texts)
    found = {name: len(pattern.findall(sample)) for name, pattern in _PATTERNS.items()}
    letters = sum(found.values())
    own = sum(found[name] for name in _JOINED.get(script, (script,)))
    if letters < MIN_LETTERS or own >= ENOUGH * letters:
        return None
    most = max(found, key=lambda name: found[name])
    return (
        f"{lang}: {100 * own / letters:.0f} % of the letters are of its script ({script}); "
        f"{100 * found[most] / letters:.0f} % are {most}: is this text of another language?"
    )
