"""Writing systems by Unicode character name, and which of them put no space between words.

The first word of a letter's name is its script ("THAI CHARACTER KO KAI"), which the standard library knows, whereas the
Script property it does not. Good enough to say what a text or a token is written in: marks that many scripts share,
digits and punctuation have none.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from functools import lru_cache

# No white space between words (Tibetan, Javanese and Balinese included): tokens per white-space word mean nothing.
UNSPACED = frozenset(
    ("Thai", "Lao", "Khmer", "Myanmar", "Han", "Hiragana", "Katakana", "Tibetan", "Tai", "Javanese", "Balinese")
)
_SHARED = frozenset(
    ("COMBINING", "MODIFIER", "VARIATION", "MUSICAL", "MATHEMATICAL", "DOUBLE-STRUCK", "SCRIPT", "FEMININE")
)
_RENAMED = {"CJK": "Han", "IDEOGRAPHIC": "Han", "HALFWIDTH": "Katakana", "FULLWIDTH": "Latin", "NEW": "Tai"}


@lru_cache(maxsize=1 << 17)
def script_of(char: str) -> str | None:
    """ "Thai", "Latin", "Han", ...; None for what is no letter or mark of one script."""
    if unicodedata.category(char)[0] not in "LM":
        return None
    first = unicodedata.name(char, "").split(" ")[0]
    if not first or first in _SHARED:
        return None
    return _RENAMED.get(first, first.capitalize())


def main_script(text: str) -> str | None:
    """The script of most of the letters; None if there are none."""
    counts = Counter(script for char in text if (script := script_of(char)) is not None)
    return min(counts, key=lambda script: (-counts[script], script)) if counts else None


def writes_spaces(text: str) -> bool:
    """Whether most letters belong to scripts with spaces between words."""
    scripts = [script for char in text if (script := script_of(char)) is not None]
    return 2 * sum(script in UNSPACED for script in scripts) < len(scripts)
