"""The words that an option's value may be, as its metavar spells them: `cosine|linear`, `auto|cuda[:i]`, `auto|URL`.

One text is what help shows, what completions offer and what a value is held against before a command does anything.
An alternative is a word, a word and what may follow it (`near[:0.8]`) or must (`fasttext:FILE`, `neurons=FILE`), or
stands for any value (`N`, `REGEX`): then nothing is refused here; of `URL` there is at least a `://` to see. `[,...]`
at the end: several, with commas between; `[+...]`: a sum of them, which its reader checks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_ALTERNATIVE = re.compile(r"([a-z][a-z0-9_-]*)(\[:[^]]*]|[:/=][A-Z].*)?")


@dataclass(frozen=True)
class Choices:
    """`alternatives` as the metavar has them; `words`: what of them can be offered; `closed`: whether there are no
    other values; `several`: whether commas part them."""

    alternatives: tuple[str, ...]
    words: tuple[str, ...]
    closed: bool
    several: bool
    _patterns: tuple[str, ...] = ()

    def refused(self, value: str) -> str | None:
        """`value`, or the first part of it, that is none of them; None if there is no such."""
        if not self.closed:
            return None
        parts = [part.strip() for part in value.split(",") if part.strip()] if self.several else [value]
        fits = re.compile("|".join(self._patterns), re.DOTALL)
        return next((part for part in parts if fits.fullmatch(part) is None), None)


def choices_of(metavar: str) -> Choices:
    """What `metavar` says; one without fixed words (`FILE`, `th,lo`) is open and has none."""
    text, several = metavar.removesuffix("[,...]"), metavar.endswith("[,...]")
    closed = not text.endswith("[+...]")
    words, patterns = [], []
    alternatives = text.removesuffix("[+...]").split("|")
    for alternative in alternatives:
        read = _ALTERNATIVE.fullmatch(alternative)
        if alternative == "URL":
            patterns.append(".*://.*")
            continue
        if read is None:
            closed = False
            continue
        word, tail = read[1], read[2] or ""
        if not tail.startswith("/"):
            words.append(word)
        follows = f"{re.escape(tail[0])}.+" if tail and tail[0] != "[" else "(:.+)?" if tail else ""
        patterns.append(re.escape(word) + follows)
    return Choices(tuple(alternatives), tuple(words), closed and bool(words), several, tuple(patterns))
