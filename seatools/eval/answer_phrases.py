"""How a language says "the answer is": the phrases of `data/answers.toml`, by language and what follows."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from functools import lru_cache
from importlib import resources

from seatools.eval.number_formats import base_language, plain


@lru_cache
def _table() -> dict[str, dict[str, list[str]]]:
    text = resources.files("seatools.eval").joinpath("data", "answers.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def languages() -> tuple[str, ...]:
    """Those with phrases of their own; the others are read with the English ones."""
    return tuple(_table())


def phrases(lang: str, *kinds: str) -> list[str]:
    """The spellings of these kinds ("answer", "letter", "filler", "header"), as `plain` leaves them."""
    own = _table().get(base_language(lang)) or _table()["en"]
    return [plain(spelling) for kind in kinds for spelling in own.get(kind, ())]


def spelled(spellings: Sequence[str]) -> str:
    """A pattern for any of them, the longest first: white space as it comes, whole words where there are words."""
    words = []
    for spelling in sorted(spellings, key=len, reverse=True):
        word = r"\s*".join(map(re.escape, spelling.split()))
        spaced = re.match(r"[^\W\d_\u0e00-\u109f\u1780-\u17ff\u3040-\u9fff\uac00-\ud7ff]", spelling)
        words.append(rf"(?<!\w){word}" if spaced else word)
    return "|".join(words) or r"(?!)"


@lru_cache
def announcement(lang: str, *kinds: str) -> re.Pattern[str]:
    """Any of the language's phrases of these kinds, in any case."""
    return re.compile(rf"(?:{spelled(phrases(lang, *kinds))})", re.IGNORECASE)


@lru_cache
def _header(lang: str) -> re.Pattern[str]:
    return re.compile(spelled([*phrases(lang, "header"), *phrases("en", "header")]), re.IGNORECASE)


def without_headers(text: str, lang: str) -> str:
    """A plain text without "Step-by-Step Answer:" and its like."""
    return _header(lang).sub(" ", text)
