"""Words and syllables where nothing is written between them: a segmenter by language, for `--segment`.

Thai: PyThaiNLP's newmm (dictionary); Khmer: khmercut (CRF); Lao: LaoNLP (dictionary), all of the `segment` extra.
Burmese: syllables by the rule of Ye Kyaw Thu's sylbreak (a consonant that is neither stacked nor killed begins one),
which needs no package. What such a measure means depends on the segmenter, so its name and version stand in `config`.
Cost: 0.2 MB/s for Thai, 0.3 for Khmer, 1.8 for Lao; never run unless asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Literal

import numpy as np

from seatools.streams.extras import require
from seatools.text.identify import same_language
from seatools.text.text_batch import Spans, TextBatch

Unit = Literal["segmented_word", "syllable"]

_SYLLABLE = re.compile(
    "(?<!\u1039)(?=[\u1000-\u1021](?!\u1037?[\u103a\u1039]))"  # the dot below may stand before the killer, as in NFC
    "|(?=[\u1023-\u102a\u103f-\u104f])|(?<=[\u1000-\u109f])(?=[^\u1000-\u109f])"
)


@dataclass(frozen=True)
class Segmenter:
    """Cuts texts of one language; `name` goes into records."""

    name: str
    unit: Unit
    cut: Callable[[str], Sequence[str]]
    """The parts of a text, in order; white space may be missing."""

    def spans(self, batch: TextBatch) -> Spans:
        """The parts that hold a letter or a digit. Cost: the segmenter's."""
        firsts: list[int] = []
        ends: list[int] = []
        for text, begin in zip(batch.texts, batch.character_begins.tolist(), strict=True):
            place = 0
            for part in self.cut(text):
                found = text.find(part, place)
                if found < 0 or not any(map(str.isalnum, part)):
                    continue
                place = found + len(part)
                firsts.append(begin + found)
                ends.append(begin + place)
        return batch.spans(np.array(firsts, np.int64), np.array(ends, np.int64))


def segmenter_for(lang: str) -> Segmenter | None:
    """The segmenter of a language tag (`th`, `tha_Thai`, ...), or None. SeaError where its package is missing."""
    make = _BY_LANGUAGE.get(same_language(lang))
    return make() if make else None


def _thai() -> Segmenter:
    require("pythainlp")
    from pythainlp.tokenize import word_tokenize

    return Segmenter(_named("pythainlp", " newmm"), "segmented_word", word_tokenize)


def _khmer() -> Segmenter:
    cut = require("khmercut").tokenize
    return Segmenter(_named("khmercut"), "segmented_word", cut)


def _lao() -> Segmenter:
    require("laonlp")
    from laonlp.tokenize import word_tokenize

    return Segmenter(_named("laonlp"), "segmented_word", word_tokenize)


def _burmese() -> Segmenter:
    return Segmenter("sylbreak rule", "syllable", syllables)


def syllables(text: str) -> list[str]:
    """Burmese syllables; digits, signs and white space stand alone, other scripts stay together."""
    return [part for part in _SYLLABLE.split(text) if part]


def _named(package: str, more: str = "") -> str:
    return f"{package} {metadata.version(package)}{more}"


_BY_LANGUAGE = {"th": _thai, "km": _khmer, "lo": _lao, "my": _burmese}
