"""Quality rules that need no words: shares of characters, repetition, compression, by thresholds in a data file.

After Gopher, RefinedWeb and FineWeb2 (lines and n-grams repeated, symbols, stop words), restated in characters so that
Thai, Lao, Khmer and Burmese are judged as English is; compression is that of UTF-16, where a letter of any script is
two bytes (of UTF-8, Thai has three and would look repetitive). Thresholds and what they were measured on:
quality.toml. A rule has a version, which is part of the reason of a reject (`zlib_ratio.v1`). Of a document the first
100,000 characters count. Most of the time goes into zlib, lines and n-grams.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from math import inf, isfinite
from pathlib import Path
from typing import Any

import numpy as np

from seatools.streams.errors import UsageError
from seatools.streams.parsed import parse_toml
from seatools.streams.plugins import Plugin, find_function, plugins
from seatools.text.cleaning.character_counts import character_counts
from seatools.text.cleaning.ngram_hashes import ngram_hashes
from seatools.text.cleaning.rejection import Rejection
from seatools.text.identify import same_language
from seatools.text.scripts import UNSPACED, script_of, scripts_of_language

MOST_CHARACTERS = 100_000
NGRAM = 20
_LONG_ENOUGH = 200  # characters from which repetition and compression mean something
_LINES_ENOUGH = 10
_SHORT_LINE = 25
RULES = {
    "chars": 1, "script_share": 1, "letters_share": 1, "digits_share": 1, "symbols_share": 1, "mojibake_share": 1,
    "markup_share": 1, "repeated_lines": 1, "short_lines": 1, "repeated_ngrams": 1, "zlib_ratio": 1, "mean_word": 1,
}  # fmt: skip
"""Rule -> version, in the order in which they are tried."""
# What must stand in a text for the pattern to be worth trying, and the pattern.
_MARKUP: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("<", re.compile(r"<[a-zA-Z/!][^<>\n]{0,1000}>")),
    ("&", re.compile(r"&(?:#\d{1,7}|#x[0-9a-fA-F]{1,6}|[a-zA-Z]{2,10});")),
    ("://", re.compile(r"\bhttps?://\S+")),
    ("www.", re.compile(r"\bwww\.\S+")),
    ("[[", re.compile(r"\[\[[^\[\]\n]{0,300}\]\]")),
    (
        "{",
        re.compile(
            r"\bvar \w+ ?=|\bfunction ?\w*\(|\b(?:document|window)\.\w+|\b(?:padding|margin|display) ?:|\b\d+px\b"
        ),
    ),
)
# UTF-8 read as Latin-1 or as Windows' code page: a lead byte and its continuations, as the characters they became.
_CONTINUATION = (
    "[\u0080-\u00bf\u20ac\u201a\u0192\u201e\u2026\u2020\u2021\u02c6\u2030\u0160\u2039\u0152\u017d\u2018\u2019\u201c\u201d"
    "\u2022\u2013\u2014\u02dc\u2122\u0161\u203a\u0153\u017e\u0178]"
)
_MOJIBAKE = re.compile(f"[\u00c2-\u00c5\u00d0\u00d1]{_CONTINUATION}|[\u00e0-\u00ef]{_CONTINUATION}{{2}}|\ufffd")

_LINE_END = re.compile(r"[\n\r\u2028\u2029]|\s[|•·»›]\s")  # a bar of links is a list of lines, too

Limits = Mapping[str, tuple[float | None, float | None]]
"""Rule -> (least, most); None: no limit on that side."""


@dataclass(frozen=True)
class QualityRules:
    """Limits for every language: the defaults, and what single languages change in them."""

    default: Limits
    languages: Mapping[str, Limits]
    plugins: Mapping[str, tuple[Plugin, Any]] = field(default_factory=dict)
    """Rule -> the measure of an installed package: `(text, lang) -> number | None`, `version` 1 if it has none."""

    def limits(self, lang: str | None) -> Limits:
        """Those of a language tag, or the defaults."""
        return {**self.default, **self.languages.get(same_language(lang or ""), {})}

    def check(self, text: str, lang: str | None) -> Rejection | None:
        """The first rule that the text breaks, with its value and limit."""
        limits = self.limits(lang)
        for rule, value in measure(text, lang).items():
            if (why := _outside(rule, RULES[rule], value, limits)) is not None:
                return why
        for rule, (plugin, function) in self.plugins.items():
            if rule in limits and (found := _measured(plugin, function, text, lang)) is not None:
                why = _outside(rule, getattr(function, "version", 1), found, limits)
                if why is not None:
                    return why
        return None


def _outside(rule: str, version: int, value: float, limits: Limits) -> Rejection | None:
    least, most = limits.get(rule, (None, None))
    if least is not None and value < least:
        return Rejection(f"{rule}.v{version}", round(value, 4), least)
    if most is not None and value > most:
        return Rejection(f"{rule}.v{version}", round(value, 4), most)
    return None


def _measured(plugin: Plugin, function: Any, text: str, lang: str | None) -> float | None:
    value = plugin.call(function, text[:MOST_CHARACTERS], lang)
    if value is None:
        return None
    if isinstance(value, bool | int | float) and isfinite(value):
        return float(value)
    raise plugin.failed("failed", f"it gave {value!r}, neither a number nor None")


def load_rules(path: str | None = None) -> QualityRules:
    """The rules of quality.toml, changed by those of the user's file. Errors: UsageError for what it may not say."""
    rules = _parsed(resources.files(__package__).joinpath("quality.toml").read_bytes(), "quality.toml")
    if path is None:
        return rules
    try:
        own = _parsed(Path(path).read_bytes(), path)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", fix="--quality-rules names a TOML file") from error
    merged = {lang: {**rules.languages.get(lang, {}), **own.languages.get(lang, {})} for lang in own.languages}
    named = {rule for limits in (own.default, *own.languages.values()) for rule in limits if rule not in RULES}
    added = {rule: found for rule in sorted(named) if (found := find_function("sea.filters", rule)) is not None}
    return QualityRules({**rules.default, **own.default}, {**rules.languages, **merged}, added)


def _parsed(data: bytes, path: str) -> QualityRules:
    try:
        tables: dict[str, Any] = parse_toml(data.decode("utf-8"))
    except ValueError as error:
        raise UsageError(f"{path}: not TOML: {error}", fix="--quality-rules names a TOML file") from error
    found: dict[str, dict[str, tuple[float | None, float | None]]] = {}
    for name, table in tables.items():
        if not isinstance(table, dict) or not same_language(name):  # "" is of documents without a language
            raise UsageError(f'{path}: "{name}" is not a table of a language', fix="[default] or a language: [th]")
        for rule, limit in table.items():
            if rule not in RULES and rule not in plugins("sea.filters"):
                raise UsageError(f'{path}: no quality rule "{rule}"', fix=f"the rules are {', '.join(RULES)}")
            sides = limit if isinstance(limit, dict) else {} if limit is False else {"?": limit}
            if not set(sides) <= {"min", "max"} or not all(type(side) in (int, float) for side in sides.values()):
                raise UsageError(f"{path}: {name}.{rule} = {limit}", fix=f"{rule} = {{max = 0.3}}, or false: no limit")
            if any(side != side for side in sides.values()) or sides.get("min", -inf) > sides.get("max", inf):
                raise UsageError(f"{path}: {name}.{rule} = {limit}: nothing can meet that", fix="min at most max")
            language = name if name == "default" else same_language(name)
            found.setdefault(language, {})[rule] = (sides.get("min"), sides.get("max"))
    return QualityRules(found.pop("default", {}), found)


def measure(text: str, lang: str | None) -> dict[str, float]:
    """Rule -> value of one document; rules that say nothing of it (too short, no known script) are left out."""
    text = text[:MOST_CHARACTERS]
    counts = character_counts(text)
    kinds: Counter[str] = Counter()
    scripts: Counter[str] = Counter()
    for char, count in counts.items():
        kind, script = _kind(char)
        kinds[kind] += count
        if script is not None:
            scripts[script] += count
    visible = max(len(text) - kinds["space"], 1)
    found: dict[str, float] = {"chars": float(len(text))}
    expected = scripts_of_language(lang) if lang else None
    if expected is not None and scripts:
        found["script_share"] = sum(scripts[script] for script in expected) / scripts.total()
    found["letters_share"] = kinds["letter"] / visible
    found["digits_share"] = kinds["digit"] / visible
    found["symbols_share"] = kinds["symbol"] / visible
    broken = 0 if text.isascii() else sum(map(len, _MOJIBAKE.findall(text)))
    found["mojibake_share"] = broken / visible
    found["markup_share"] = _markup(text) / max(len(text), 1)
    lines = [line for raw in _LINE_END.split(text) if (line := raw.strip())]
    if len(lines) >= _LINES_ENOUGH:
        size = sum(map(len, lines))
        found["repeated_lines"] = sum((many - 1) * len(line) for line, many in Counter(lines).items()) / size
        found["short_lines"] = sum(len(line) for line in lines if len(line) < _SHORT_LINE) / size
    if len(text) >= _LONG_ENOUGH:
        codes = np.frombuffer(text.encode("utf-16-le", "surrogatepass"), np.uint16)
        found["repeated_ngrams"] = _repeated_ngrams(codes)
        raw = codes.tobytes()
        found["zlib_ratio"] = len(raw) / len(zlib.compress(raw, 1))
    if scripts and 2 * sum(scripts[script] for script in UNSPACED) < scripts.total():
        words = text.split()
        found["mean_word"] = sum(map(len, words)) / len(words)
    return found


def _markup(text: str) -> int:
    """How many characters belong to tags, entities, URLs, wiki links, code."""
    left = text
    for sign, pattern in _MARKUP:
        if sign in left:
            left = pattern.sub("", left)
    return len(text) - len(left)


@lru_cache(maxsize=1 << 17)
def _kind(char: str) -> tuple[str, str | None]:
    category = unicodedata.category(char)
    if char.isspace() or category == "Cf":  # Khmer's zero-width spaces are no symbols
        return "space", None
    if category[0] in "LM":
        return "letter", script_of(char)
    if category[0] == "N":
        return "digit", None
    return ("punctuation" if category[0] == "P" else "symbol"), None


def _repeated_ngrams(codes: np.ndarray) -> float:
    """The share of 20-character windows of `codes` [units] uint16 that occurred before."""
    hashes = ngram_hashes(codes, NGRAM)
    hashes.sort()  # np.unique builds a hash table, which is slower
    return int(np.count_nonzero(hashes[1:] == hashes[:-1])) / len(hashes)
