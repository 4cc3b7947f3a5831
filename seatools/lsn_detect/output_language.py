"""Does the model still answer in the language it was asked in? Greedy continuations of half texts, before and after.

A prompt is the first half of a text, cut between grapheme clusters; what follows is identified by the tiers of
`sea clean` (text/cleaning/language_tiers.py). `script`, the default, needs no model but tells languages of Latin script
from no other but Vietnamese. An output counts as changed against that of the whole model, not against the prompt: a
small model that never writes Lao has no Lao to lose. Outputs of fewer than 8 letters, or of a language that CLD2 is not
sure of, are not judged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from seatools.text.cleaning.language_tiers import Identified, LanguageTier
from seatools.text.graphemes import Characters
from seatools.text.scripts import script_counts, scripts_of_language

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from seatools.engine.generate import SamplingOptions

MIN_LETTERS = 8
MOST_PROMPT_TOKENS = 256  # a longer half of a long document costs time and says nothing more about the language


@dataclass(frozen=True)
class Changed:
    """Of `prompts` outputs, `judged` could be compared and `changed` were in another language."""

    prompts: int
    judged: int
    changed: int

    @property
    def share(self) -> float | None:
        return self.changed / self.judged if self.judged else None

    def __add__(self, other: Changed) -> Changed:
        return Changed(self.prompts + other.prompts, self.judged + other.judged, self.changed + other.changed)


def half_prompts(texts: Sequence[str], number: int, encode: Callable[[str], np.ndarray], room: int) -> list[list[int]]:
    """Token ids of the first halves of `number` of the texts, evenly spread, of at most `room` tokens each.

    A text of one character has no half and gives no prompt.
    """
    places = np.unique(np.linspace(0, len(texts) - 1, min(number, len(texts))).astype(np.int64))
    prompts = (_half_prompt(texts[place], encode, min(room, MOST_PROMPT_TOKENS)) for place in places)
    return [prompt for prompt in prompts if prompt]


def _half_prompt(text: str, encode: Callable[[str], np.ndarray], room: int) -> list[int]:
    begins = np.flatnonzero(Characters(text).begins_cluster())
    clusters = len(begins) // 2
    while clusters > 0:
        half = text[: begins[clusters]].rstrip()
        ids = encode(half).tolist() if half else []
        if len(ids) <= room:
            return ids
        clusters = min(clusters - 1, clusters * room // len(ids))
    return []


def greedy_outputs(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    options: SamplingOptions,
    *,
    batch_tokens: int,
    advance: Callable[[int], None],
) -> list[list[int]]:
    """The tokens that follow each prompt. `options` are those of greedy sampling (temperature 0)."""
    from seatools.engine.generate import generate

    seeds = [0] * len(prompts)  # greedy: nothing is drawn
    made = generate(model, prompts, options, seeds=seeds, batch_tokens=batch_tokens, progress=advance)
    return [item.ids for item in made]


class OutputJudge:
    """Tells the languages of outputs apart with one tier: `script`, `cld2` or `fasttext:FILE`."""

    def __init__(self, lang_id: str) -> None:
        self._tier = LanguageTier(lang_id)
        self._by_script = lang_id == "script"

    def cannot_tell(self, langs: Sequence[str]) -> list[str]:
        """Those of `langs` that are known by their script only and share it with another of them."""
        scripts = {lang: scripts_of_language(lang) for lang in langs if not self._tier.knows(lang)}
        return [
            lang for lang, own in scripts.items()
            if own is not None and any(other != lang and own == theirs for other, theirs in scripts.items())
        ]  # fmt: skip

    def identify(self, text: str) -> Identified:
        """The language of an output; (None, None) if it is too short to tell."""
        if script_counts(text).total() < MIN_LETTERS:
            return Identified(None, None)
        return self._tier.identify(text)

    def has_changed(self, before: Identified, after: Identified) -> bool | None:
        """Whether two outputs are in different languages; None: cannot be said."""
        if before.script is None or after.script is None:
            return None
        if self._by_script or (before.lang is not None and after.lang is not None):
            return before.lang != after.lang or (before.lang is None and before.script != after.script)
        return True if before.script != after.script else None

    def compare(self, before: Sequence[Identified], after: Sequence[Identified]) -> Changed:
        """The outputs of two runs to the same prompts."""
        found = [self.has_changed(one, other) for one, other in zip(before, after, strict=True)]
        return Changed(len(found), sum(item is not None for item in found), sum(item is True for item in found))
