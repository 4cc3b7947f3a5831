"""One question of a task as the model reads it: everything that is needed to ask it and to score its answer.

`item` is the digest of the row's own content (samples.py: the same under every prompt and number of shots, so runs are
paired by it), `digest` that of what the model reads, so that a changed prompt is a new question.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

Message = dict[str, str]
Prompt = str | tuple[Message, ...]
"""A text to continue, or the messages of a chat that the assistant answers."""


def digest_of(*parts: Any) -> str:
    """64 hex digits of JSON values."""
    return hashlib.sha256(orjson.dumps(list(parts))).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Item:
    """What all kinds of items have."""

    task: str
    lang: str
    index: int
    """Its place in the data of its task and language, from 0."""
    id: str | int | None
    """The data set's name for it."""
    item: str
    """32 hex digits of its content (samples.item_digest)."""
    where: str
    """file:line."""
    scoring: str

    @property
    def digest(self) -> str:
        """64 hex digits of what is asked."""
        return digest_of(*self._asked())

    def _asked(self) -> tuple[Any, ...]:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class ChoiceItem(Item):
    """Every choice is scored after `prompt` + `delimiter` (after messages: as the assistant's turn)."""

    prompt: Prompt
    choices: tuple[str, ...]
    gold: int
    delimiter: str = " "
    kind = "choice"

    def _asked(self) -> tuple[Any, ...]:
        return (self.prompt, self.delimiter, self.choices, self.gold)

    @property
    def num_bytes(self) -> tuple[int, ...]:
        """UTF-8 bytes of each choice, without the delimiter."""
        return tuple(len(choice.encode("utf-8")) for choice in self.choices)


@dataclass(frozen=True, kw_only=True)
class GenerationItem(Item):
    """A prompt to answer; `expected` goes into the sample's result beside the text (reference, choices, gold ...)."""

    prompt: Prompt
    stop: tuple[str, ...]
    max_new_tokens: int
    expected: Mapping[str, Any] = field(default_factory=dict)
    kind = "generation"

    def _asked(self) -> tuple[Any, ...]:
        return (self.prompt, self.stop, self.max_new_tokens, dict(self.expected))


@dataclass(frozen=True, kw_only=True)
class TranslationItem(GenerationItem):
    """A sentence of line-aligned files; `lang` is "SOURCE-TARGET"."""

    source_lang: str
    target_lang: str


@dataclass(frozen=True, kw_only=True)
class PerplexityItem(Item):
    """A text to score as it stands."""

    text: str
    kind = "loglikelihood"

    def _asked(self) -> tuple[Any, ...]:
        return (self.text,)


@dataclass(frozen=True, kw_only=True)
class TokenizerItem(PerplexityItem):
    """A text whose tokens are counted."""

    kind = "tokens"


@dataclass(frozen=True, kw_only=True)
class JudgeItem(Item):
    """A conversation: the user's turns, answered in order (each answer is read by the next turn), then judged."""

    turns: tuple[str, ...]
    system: str | None
    stop: tuple[str, ...]
    max_new_tokens: int
    fields: Mapping[str, Any]
    """What the judge's templates read of the row."""
    kind = "generation"

    def _asked(self) -> tuple[Any, ...]:
        return (
            self.system,
            self.turns,
            self.stop,
            self.max_new_tokens,
            {k: v for k, v in self.fields.items() if k != "row"},
        )

    def messages(self, answers: tuple[str, ...]) -> tuple[Message, ...]:
        """The chat up to the turn after the last of `answers`."""
        asked: list[Message] = [] if self.system is None else [{"role": "system", "content": self.system}]
        for turn, answer in zip(self.turns, (*answers, None), strict=False):
            asked.append({"role": "user", "content": turn})
            if answer is not None:
                asked.append({"role": "assistant", "content": answer})
        return tuple(asked)
