"""What a task is, once its file is read (task_reader.py) and checked."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from seatools.eval.number_formats import base_language
from seatools.eval.row_shapes import Shape
from seatools.eval.templates import Expression, Template
from seatools.streams.errors import UsageError
from seatools.streams.records import BadRecord


@dataclass(frozen=True)
class HuggingFace:
    """Where the data lies on the hub: used with --hf only."""

    path: str
    config: Template | None
    split: str
    shots_split: str | None
    configs: Mapping[str, str]
    """Language -> config, where the template does not give it."""


@dataclass(frozen=True)
class Choice:
    """A question with options, one of them right."""

    options: Expression
    answer: Expression
    answer_as: str
    """One of ANSWER_FORMS."""
    names: tuple[str, ...]
    """Of `answer_as = "name"`: the values in the data, in the order of the options."""
    letters: str | tuple[str, ...]
    """Labels before the options, "words": those of the language, "own": those in the options, "": none."""
    score_letters: bool
    shuffle: int | None
    """Seed of the order of options; None: as in the data."""
    descriptions: Expression | None
    """With `shuffle`: one of this list is drawn for every question, as `description`."""


@dataclass(frozen=True)
class Shots:
    """The solved examples before a question."""

    count: int
    """Where nothing else is asked for."""
    same: tuple[Expression, ...]
    """What shots have in common with the question (M3Exam: level and subject)."""
    fewer: bool
    """Whether a question with fewer shots like it takes those (one at least); else it is an error."""
    separator: str
    shape: Shape | None
    """Of the shots' own rows, where they differ from the task's."""
    template: Template | None
    """A solved example as text; None: prompt, delimiter, answer."""
    answer: Template | None
    """Its answer alone, for the assistant's turn; None: what the task holds for right."""
    prompt: Template | None
    """Its question alone, for the user's turn; None: the task's prompt."""


@dataclass(frozen=True)
class Judge:
    """How a judge is asked about the turns of an answer."""

    instruction: Template
    turns: tuple[Template, ...]
    """The message to the judge about turn 1, 2, ...; reads `instruction`, `aspects` and `answers` beside the row."""
    systems: tuple[Template, ...]
    """Its system message for turn 1, 2, ...; one that renders to nothing is left out."""
    max_new_tokens: int
    users: tuple[Expression, ...]
    """The user's turns."""
    aspects: Mapping[str, str]
    """Kind of question -> what matters most in its answer."""
    aspect_of: Expression | None


@dataclass(frozen=True)
class TaskFile:
    """A task, checked. `name` holds the variant ("mmlu:native")."""

    name: str
    about: str
    cite: str
    type: str
    """choice, generation, translation, perplexity, tokenizer or judge."""
    where: str
    """The file, for messages."""
    table: Mapping[str, Any]
    shapes: tuple[Shape, ...]
    words: Mapping[str, Mapping[str, Any]]
    languages: tuple[str, ...]
    """Those that the task is made for; empty: any."""
    lang_column: str | None
    lang_columns: bool
    """Whether a row holds all languages, a column each (MultiJail)."""
    hf: HuggingFace | None
    prompt: Template | None
    messages: Expression | None
    """Gives a list of messages, or nothing, and then `prompt` is taken."""
    description: Template | None
    """What stands before the shots; reads `shots` (their number), `chat` and `description` beside the row."""
    delimiter: str
    """Between a prompt and its answer, in shots and in scored choices."""
    choice: Choice | None
    expect: Mapping[str, Expression]
    """Generation: what scoring needs of the row (reference, choices, gold, labels, refuse)."""
    stop: tuple[Template, ...]
    max_new_tokens: int
    scoring: str
    shots: Shots
    judge: Judge | None
    chat: str
    """"no": a base model's prompt, chat on demand; "required": only through a chat template."""
    system: Template | None
    chat_prompt: Template | None
    private: bool
    """Whether prompts and answers are never printed (harmful text)."""
    variants: tuple[str, ...] = field(default=())

    def digest(self) -> str:
        """64 hex digits of the file's content, without names and comments."""
        told = {key: value for key, value in self.table.items() if key not in ("about", "cite", "variants", "hf")}
        return hashlib.sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).hexdigest()

    @property
    def takes_shots(self) -> bool:
        """Whether there is a right answer to show."""
        return self.type not in ("perplexity", "tokenizer", "judge") and self.scoring not in ("refusal", "safety")

    @property
    def needs_model(self) -> bool:
        """Whether anything but the tokenizer is asked."""
        return self.type != "tokenizer"

    @property
    def needs(self) -> str:
        """The columns of its rows, for messages."""
        return ", or ".join(dict.fromkeys(shape.needs for shape in self.shapes if shape.needs)) or "aligned lines"

    def shape_of(self, value: Mapping[str, Any], *, named: bool = False) -> Shape | None:
        """The shape of a record, None where it has none of them.

        `named`: the record is known to be this task's, so shapes with `auto = false` are tried too.
        """
        return next((shape for shape in self.shapes if (shape.auto or named) and shape.fits(value)), None)

    def nearest_shape(self, value: Mapping[str, Any]) -> Shape:
        """The shape that most columns of a record speak for, to say what is missing."""
        return max(self.shapes, key=lambda shape: sum(column.name in value for column in shape.columns))

    def recognises(self, value: Mapping[str, Any]) -> bool:
        """Whether a record is one of this task's, where nobody says so."""
        return self.shape_of(value) is not None

    def words_of(self, lang: str) -> Mapping[str, Any]:
        """The language's own table, by the whole tag or its first part. Raises BadRecord where there is none."""
        if not self.words:
            return {}
        for tag in (lang, base_language(lang)):
            if tag in self.words:
                return self.words[tag]
        known = ", ".join(self.words)
        raise BadRecord(
            "no words", f'{self.name} has no words for the language "{lang}"',
            fix=f"label the data with one of {known}, as in --data {next(iter(self.words))}=FILE",
        )  # fmt: skip

    def check_language(self, lang: str) -> None:
        """Raises UsageError for a language that the task is not made for."""
        if self.words:
            try:
                self.words_of(lang)
            except BadRecord as error:
                raise UsageError(error.what, fix=error.fix) from None
        elif self.languages and lang not in self.languages and base_language(lang) not in self.languages:
            raise UsageError(f'{self.name} is not for the language "{lang}"', fix=f"one of {', '.join(self.languages)}")
