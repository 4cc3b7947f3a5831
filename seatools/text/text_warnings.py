"""What is wrong with the text of a language before anything is learned from it: script, NFC, Zawgyi; and its mending.

Documents are sampled evenly without knowing how many will come: every one at first, and whenever 1,000 are kept every
second of them is dropped and half as many looked at from then on. Of each the first 1,000 characters count: more took
longer than reading the text.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from seatools.streams.errors import UsageError
from seatools.text.scripts import script_of, scripts_of_language
from seatools.text.zawgyi import is_zawgyi, to_unicode

MOST_DOCUMENTS = 1_000
MOST_CHARACTERS = 1_000
NORMALISERS = ("none", "nfc", "zawgyi")
# Shares of the documents from which it is worth a word; below are quotations and slips of single documents.
_SCRIPT, _NFC, _ZAWGYI = 0.1, 0.01, 0.01
_BURMESE = re.compile("[\u1000-\u109f]")


@dataclass(frozen=True, kw_only=True)
class TextShares:
    """What was found in the text of one language."""

    lang: str
    scripts: tuple[str, ...] | None
    """The scripts that the language is written in; None: not known or several, so no document is in another."""
    num_docs: int
    num_checked: int
    other_script: dict[str, float]
    """Script -> share of the checked documents most of whose letters are in it, which is none of `scripts`."""
    not_nfc: float
    """Share of the checked documents that are not in NFC."""
    zawgyi: float
    """Share of the checked documents that are in Zawgyi."""


class _Seen(NamedTuple):
    script: str | None
    not_nfc: bool
    zawgyi: bool


class TextChecks:
    """Collects over the documents of one language label."""

    def __init__(self, lang: str) -> None:
        self.lang = lang
        self.num_docs = 0
        self._step = 1
        self._seen: list[_Seen] = []

    def add(self, text: str) -> None:
        """Look at one document, or only count it."""
        if self.num_docs % self._step == 0:
            self._seen.append(_look(text[:MOST_CHARACTERS]))
            if len(self._seen) == MOST_DOCUMENTS:
                del self._seen[1::2]
                self._step *= 2
        self.num_docs += 1

    def shares(self) -> TextShares:
        """The shares so far."""
        scripts = scripts_of_language(self.lang)
        seen = self._seen
        num = max(len(seen), 1)
        found = Counter(doc.script for doc in seen if doc.script is not None)
        return TextShares(
            lang=self.lang,
            scripts=scripts,
            num_docs=self.num_docs,
            num_checked=len(seen),
            other_script={
                script: count / num for script, count in found.most_common() if scripts and script not in scripts
            },
            not_nfc=sum(doc.not_nfc for doc in seen) / num,
            zawgyi=sum(doc.zawgyi for doc in seen) / num,
        )

    def warnings(self) -> list[str]:
        """`sentences` on the shares so far."""
        return sentences(self.shares())


def sentences(shares: TextShares) -> list[str]:
    """What to tell the user; empty if all is well."""
    told: list[str] = []
    other = sum(shares.other_script.values())
    if shares.scripts and other >= _SCRIPT:
        told.append(
            f"{shares.lang}: {other:.0%} of the documents are mostly in another script "
            f"({', '.join(list(shares.other_script)[:3])}) than {' or '.join(shares.scripts)}: is the label right?"
        )
    if shares.zawgyi >= _ZAWGYI:
        told.append(
            f"{shares.lang}: {shares.zawgyi:.0%} of the documents are in Zawgyi, not Unicode: tokens learned from them "
            "are of no use for Unicode text (--normalize zawgyi converts them)"
        )
    elif shares.not_nfc >= _NFC:
        told.append(
            f"{shares.lang}: {shares.not_nfc:.0%} of the documents are not in NFC: the same word is spelled in several "
            "ways (--normalize nfc makes them one)"
        )
    return told


def normaliser(name: str) -> Callable[[str], str]:
    """What `--normalize NAME` does to a document: nothing, NFC, or Zawgyi to Unicode where it is found and then NFC."""
    if name == "none":
        return str
    if name == "nfc":
        return lambda text: unicodedata.normalize("NFC", text)
    if name == "zawgyi":
        return lambda text: to_unicode(text) if is_zawgyi(text) else unicodedata.normalize("NFC", text)
    raise UsageError(f'no normalization "{name}"', fix=f"--normalize {' or '.join(NORMALISERS)}")


def _look(text: str) -> _Seen:
    letters: Counter[str] = Counter()
    for char, count in Counter(text).items():
        script = script_of(char)
        if script is not None:
            letters[script] += count
    main = min(letters, key=lambda script: (-letters[script], script)) if letters else None
    return _Seen(
        main,
        not unicodedata.is_normalized("NFC", text),
        _BURMESE.search(text) is not None and is_zawgyi(text),
    )
