"""A span of a text as an answer (XQuAD): F1 of shared tokens and exact match, the best over the references.

Normalised as SQuAD's script does (Rajpurkar et al. 2016): lower case, no punctuation, no English articles, words split
at white space. That leaves a Thai or Chinese answer one "word", so there, in Lao, Khmer, Burmese and Japanese each
character with its marks is a token, as MLQA does for Chinese (Lewis et al. 2020); whatever stands in words or digits
stays whole.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from seatools.eval.number_formats import base_language, plain

_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uaa60-\uaa7f\uf900-\ufaff"
_MARKS = (
    "\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ecd\u102b-\u103e\u1056-\u1059\u17b6-\u17d3"
    "\u3099\u309a"
)
_TOKEN = re.compile(rf"[{_UNSPACED}][{_MARKS}]*|[^\s{_UNSPACED}]+")
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")


def span_tokens(text: str, lang: str) -> list[str]:
    """What is compared of an answer: digits of every script as ASCII ones, NFC, no invisible characters."""
    text = plain(text).lower()
    text = "".join(sign for sign in text if unicodedata.category(sign)[0] != "P")
    if base_language(lang) == "en":
        text = _ARTICLES.sub(" ", text)
    return _TOKEN.findall(text)


def span_scores(text: str, references: Sequence[str], lang: str) -> tuple[float, bool]:
    """(F1, exact match) of an answer, each the best over the references."""
    ours = span_tokens(text, lang)
    best, same = 0.0, False
    for reference in references:
        theirs = span_tokens(reference, lang)
        same = same or ours == theirs
        shared = (Counter(ours) & Counter(theirs)).total()
        if shared:
            best = max(best, 2 * shared / (len(ours) + len(theirs)))
        elif not ours and not theirs:
            best = 1.0
    return best, same
