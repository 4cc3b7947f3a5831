"""What a judge is told, in the language of the record: criteria, headings, the question at the end.

criteria/LANG.toml holds ours, each written in its own language after one English text; a language without a file is
judged in English, and that is said. A file of the user's is plain text (the criteria only) or TOML with any of the
keys, for every language (FILE) or for one (th=FILE). Nothing that a record holds is read as a template.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from importlib import resources
from pathlib import Path

from seatools.streams.errors import SeaError, UsageError
from seatools.streams.parsed import parse_toml
from seatools.text.language_tags import base_language

ENGLISH = "en"
_NAMED = re.compile(r"([A-Za-z]{2,3}(?:[-_][A-Za-z0-9]+)*)=(.+)", re.DOTALL)


@dataclass(frozen=True)
class Instructions:
    """The words of one language."""

    criteria: str
    """What a better answer is."""
    question: str
    """Heading of the prompt."""
    answer: str
    """Heading of an answer; its label follows."""
    better: str
    """End of a comparison that is continued with a label (no chat template)."""
    ask: str
    """End of a comparison that is answered with a label; {first} and {second} are the labels."""
    points: str
    """What the points from 0 to 5 are given for (Self-Rewarding, arXiv 2401.10020, figure 2, in our words)."""
    score: str
    """End of a rating that is continued with a number."""
    ask_score: str
    """End of a rating that is answered with a number."""


KEYS = tuple(item.name for item in fields(Instructions))


@lru_cache
def shipped_languages() -> tuple[str, ...]:
    """Languages with instructions of ours."""
    folder = resources.files("seatools.judge").joinpath("criteria")
    return tuple(sorted(file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml")))


@lru_cache
def shipped(lang: str) -> Mapping[str, str]:
    """Key -> text of one of `shipped_languages`."""
    text = resources.files("seatools.judge").joinpath("criteria", f"{lang}.toml").read_text(encoding="utf-8")
    return {key: value.strip() for key, value in parse_toml(text).items()}


class InstructionBook:
    """The instructions for any language tag: ours, what FILE changes in all, what LANG=FILE changes in one.

    `only`: the language in which every record is judged. Raises SeaError for a file that cannot be read or says
    nothing, UsageError for a language given twice or one that `only` names and we do not have.
    """

    def __init__(self, specs: Sequence[str] = (), only: str | None = None) -> None:
        self.only = base_language(only) if only else None
        self._own: dict[str | None, Mapping[str, str]] = {}
        self.lacking: set[str] = set()
        """Languages that were judged with English words."""
        for spec in specs:
            named = _NAMED.fullmatch(spec)
            lang = base_language(named[1]) if named else None
            if lang in self._own:
                raise UsageError(f"--criteria {'for every language' if lang is None else lang} is given twice")
            self._own[lang] = _read(Path(named[2] if named else spec))
        if self.only is not None and self.only not in {*shipped_languages(), *self._own}:
            known = ", ".join(shipped_languages())
            raise UsageError(f"no criteria in {only!r}", fix=f"--criteria {only}=FILE, or one of {known}")

    def of(self, lang: str | None) -> Instructions:
        """The instructions for a record in `lang`; None or an unknown language: English."""
        name = self.only or base_language(lang or ENGLISH)
        own = self._own.get(name, {})
        if name not in shipped_languages():
            if name != "und" and set(own) < set(KEYS) and not self._own.get(None):
                self.lacking.add(name)
            base = shipped(ENGLISH)
        else:
            base = shipped(name)
        return Instructions(**{**base, **self._own.get(None, {}), **own})


def _read(path: Path) -> Mapping[str, str]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SeaError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SeaError(f"{path}: not UTF-8 text") from error
    if not text.strip():
        raise SeaError(f"{path}: no criteria in this file")
    if path.suffix != ".toml":
        return dict.fromkeys(("criteria", "points"), text.strip())
    try:
        table = parse_toml(text)
    except ValueError as error:
        raise SeaError(f"{path}: not TOML: {error}") from error
    for key, value in table.items():
        if key not in KEYS:
            raise SeaError(f'{path}: no key "{key}" in criteria', fix=f"the keys are {', '.join(KEYS)}")
        if not isinstance(value, str) or not value.strip():
            raise SeaError(f'{path}: "{key}" is not a text')
    return {key: value.strip() for key, value in table.items()}
