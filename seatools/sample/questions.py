"""Records as questions: what the model is asked, once for all records that ask the same, in an order of their own.

A question is known by a digest of what is asked, so that its answers, and where they are kept, depend neither on its
record's place nor on its other keys. Questions are put in the order of their tokens and cut into units of whole
questions, planned from all of them: what a unit computes does not depend on the order of the input, on what is done
already, or on who computes it. Shards and processes take whole units.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from seatools.sample.options import SampleOptions
from seatools.sample.prompts import Prompt, asked_prompt, prompt_of, texts_of
from seatools.sample.translation import TranslationPrompts
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.records import BadRecord, Record, Rejects
from seatools.text.system_turn import check_system_turn

if TYPE_CHECKING:
    from seatools.text.documents import Documents

Ids = tuple[int, ...]


@dataclass(frozen=True)
class Question:
    """What is asked."""

    key: str
    prompt: Prompt
    ids: Ids
    """Its tokens; none for a server, which is asked with text."""
    where: str
    """The first record that asks it."""
    lang: str | None = None
    """The language that the prompt is translated into first (`texts` are the tokens of what asks for that)."""
    to_translate: tuple[Ids, ...] = ()

    @property
    def order(self) -> tuple[Ids, str]:
        return (self.to_translate[0] if self.to_translate else self.ids), self.key


@dataclass
class Asker:
    """Makes questions of prompts: chat template, tokens, room."""

    options: SampleOptions
    documents: Documents | None
    """None: a server knows tokenizer and template."""
    positions: int | None = None
    translation: TranslationPrompts | None = None

    @property
    def chats(self) -> bool:
        """Whether messages can be asked."""
        return self.documents is None or self.documents.template is not None

    def asked(self, prompt: Prompt) -> Prompt:
        """With system turn and as a chat, as the options say."""
        return asked_prompt(prompt, system=self.options.system, chat=self.options.chat)

    def tokens(self, prompt: Prompt, max_new_tokens: int) -> Ids:
        """The tokens of what is asked. Raises BadRecord for what cannot be, or leaves no room for the answer."""
        if self.documents is None:
            return ()
        try:
            if not isinstance(prompt, str) and self.documents.template is not None:
                check_system_turn(self.documents.template, prompt)
            ids = tuple(int(i) for i in self.documents.prompt_ids({"prompt": prompt}))
        except SeaError as error:
            raise BadRecord("bad prompt", error.what, fix=error.fix) from error
        room = None if self.positions is None else self.positions - max_new_tokens
        if room is not None and len(ids) > room:
            what = f"the prompt has {len(ids)} tokens, the model has room for {room}"
            raise BadRecord("prompt too long", what, fix="lower --max-new-tokens, or --on-error skip")
        return ids

    def translation_prompt(self, text: str, lang: str) -> Prompt:
        """What asks for the translation of a text."""
        assert self.translation is not None
        asked = self.translation.ask(text, lang, chat=self.chats)
        return [{"role": "user", "content": asked}] if self.chats else asked

    def question(self, record: Record) -> Question:
        """What a record asks. Raises BadRecord."""
        prompt, options = prompt_of(record.value), self.options
        if self.translation is None:
            asked = self.asked(prompt)
            return Question(_key(asked), asked, self.tokens(asked, options.max_new_tokens), record.where)
        lang = options.lang or record.value.get("lang")
        if not isinstance(lang, str) or not lang:
            raise BadRecord("no lang", 'the record has no "lang" to translate its prompt into', fix="--lang LANG")
        try:
            is_source = self.translation.entry(lang) == self.translation.entry(self.translation.source)
        except UsageError as error:
            raise BadRecord("unknown lang", error.what, fix=error.fix) from error
        if is_source:
            what = f"the record's lang is {lang}, the language that its prompt is in already"
            raise BadRecord("no target lang", what, fix="--lang LANG")
        asks = [self.translation_prompt(text, lang) for text in texts_of(prompt)]
        ids = tuple(self.tokens(one, options.translation_tokens or 0) for one in asks)
        return Question(_key([prompt, lang]), prompt, (), record.where, lang, ids)


def _key(asked: Any) -> str:
    return hashlib.sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]


def make_questions(
    records: Sequence[Record], asker: Asker, rejects: Rejects
) -> tuple[list[tuple[Record, str]], list[Question]]:
    """The records that can be answered, each with the key of its question; and the questions, in their order."""
    asked: list[tuple[Record, str]] = []
    found: dict[str, Question] = {}
    for record in records:
        try:
            question = asker.question(record)
        except BadRecord as error:
            rejects.refuse(record, error)
            continue
        found.setdefault(question.key, question)
        asked.append((record, question.key))
    return asked, sorted(found.values(), key=lambda question: question.order)


def plan_units(questions: Sequence[Question], num_made: int, *, larger: bool) -> list[list[Question]]:
    """Every question in one unit; `larger`: for an engine that fills a GPU."""
    from seatools.engine import prompts

    size = max(1, (8 if larger else 1) * prompts.GROUP // num_made)
    rows = prompts.prompt_groups([question.order[0] for question in questions], size=size)
    return [[questions[row] for row in unit] for unit in rows]


def answer_seed(seed: int, prompt: Prompt | Ids, number: int) -> int:
    """A 63-bit seed from (seed, prompt tokens, which answer); of a prompt without tokens its JSON counts."""
    if not isinstance(prompt, tuple):
        prompt = tuple(orjson.dumps(prompt, option=orjson.OPT_SORT_KEYS))
    text = f"{seed}/{number}/{','.join(map(str, prompt))}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "little") >> 1
