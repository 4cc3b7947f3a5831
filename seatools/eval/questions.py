"""One row as its task asks it: its values, its options in their order and the right one, its prompt and its answer."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seatools.eval.number_formats import base_language
from seatools.eval.option_labels import (
    LETTERS,
    answer_index,
    index_of,
    label_place,
    letter_index,
    number_index,
    own_labels,
    text_index,
)
from seatools.eval.row_shapes import Shape
from seatools.eval.task_parts import Choice, TaskFile
from seatools.eval.templates import Template
from seatools.streams.errors import SeaError
from seatools.streams.records import BadRecord, Record

_READERS: dict[str, Callable[[Any, Sequence[str]], int]] = {
    "index": lambda answer, options: index_of(answer, len(options)),
    "number": lambda answer, options: number_index(answer, len(options)),
    "letter": lambda answer, options: letter_index(answer, len(options)),
    "text": text_index,
    "any": answer_index,
}


@dataclass(frozen=True)
class Question:
    """A checked row. `values` is what templates read."""

    task: TaskFile
    shape: Shape
    where: str
    content: Mapping[str, Any]
    values: Mapping[str, Any]

    @property
    def id(self) -> str | int | None:
        """The data set's name for it."""
        found = self.shape.id.value(self.values) if self.shape.id is not None else None
        return found if isinstance(found, str | int) and not isinstance(found, bool) else None

    @property
    def options(self) -> list[str]:
        return list(self.values["options"])

    @property
    def gold(self) -> int:
        return int(self.values["gold"])

    def with_options(self, options: Sequence[str], gold: int) -> Question:
        """The same question with its options in another order."""
        values = {**self.values, "options": list(options), "gold": gold}
        return Question(self.task, self.shape, self.where, self.content, values)

    def shuffled(self, generator: random.Random) -> Question:
        """Its options shuffled; of equal texts the first stays the right one, as in SeaExam's script."""
        options = self.options
        generator.shuffle(options)
        return self.with_options(options, options.index(self.options[self.gold]))

    def render(self, template: Template, **more: Any) -> str:
        return template.render({**self.values, **more})

    @property
    def choices(self) -> tuple[str, ...]:
        """What is scored: the letters before the options, or the options."""
        choice = self.task.choice
        assert choice is not None
        return tuple(self.values["letters"] if choice.score_letters else self.options)

    @property
    def prompt(self) -> str:
        assert self.task.prompt is not None
        return self.render(self.task.prompt)

    @property
    def expected(self) -> dict[str, Any]:
        """What the scoring of a generated answer needs."""
        found = {key: expression.value(self.values) for key, expression in self.task.expect.items()}
        for key, value in found.items():
            if value is None or value in ("", []):
                raise BadRecord("empty text", f"the row gives no {key}")
            if isinstance(value, tuple):
                found[key] = list(value)
        return found

    @property
    def answer(self) -> str:
        """The right answer as a solved example shows it."""
        if self.task.shots.answer is not None:
            return self.render(self.task.shots.answer)
        if self.task.type == "choice":
            return self.choices[self.gold]
        expected = self.expected
        reference = expected.get("reference")
        if reference is None and "gold" in expected:
            reference = (expected.get("labels") or expected["choices"])[expected["gold"]]
        return str(reference[0] if isinstance(reference, list) else reference)


def given(task: TaskFile, lang: str) -> dict[str, Any]:
    """What templates read beside the row."""
    return {"lang": base_language(lang), "words": task.words_of(lang)}


def questions_of(task: TaskFile, record: Record, lang: str, shape: Shape | None = None) -> Iterator[Question]:
    """The questions of a record: one, or as many as it is unpacked into. Raises BadRecord."""
    shape = shape or task.shape_of(record.value, named=True) or task.nearest_shape(record.value)
    rows = list(shape.rows(record.value))
    if not rows:
        raise BadRecord("bad column", f'field "{shape.unpack[0]}" is an empty list', where=record.where)
    for path, row in rows:
        where = f"{record.where} ({path})" if path and len(shape.unpack) > 1 else record.where
        try:
            yield question_of(task, shape, row, lang, where)
        except SeaError as error:
            if path and not error.where:
                error.where = where
            raise


def question_of(task: TaskFile, shape: Shape, row: Mapping[str, Any], lang: str, where: str) -> Question:
    """A row as a question. Raises BadRecord, with the columns that the task needs where one is missing."""
    try:
        content = shape.content(row)
    except BadRecord as error:
        if error.reason == "missing column":
            error.fix = f"{task.name} needs {task.needs}"
        raise
    values = shape.values(content, given(task, lang))
    if task.choice is not None and shape is not task.shots.shape:
        values |= _options(task.choice, values)
    return Question(task, shape, where, content, values)


def _options(choice: Choice, values: Mapping[str, Any]) -> dict[str, Any]:
    options = choice.options.value(values)
    if not isinstance(options, list | tuple) or len(options) < 2:
        raise BadRecord("bad choices", "there are fewer than two options")
    if not all(isinstance(option, str) and option.strip() for option in options):
        raise BadRecord("bad choices", "an option is empty, or no text")
    letters = _letters(choice, options, values)
    if (letters or choice.score_letters) and len(letters) < len(options):
        raise BadRecord("bad choices", f"{len(options)} options, and letters for {len(letters)}")
    answer = choice.answer.value(values)
    if choice.answer_as == "name":
        if answer not in choice.names:
            raise BadRecord("bad label", f"the label is {answer!r}, none of {', '.join(map(str, choice.names))}")
        gold = choice.names.index(answer)
    elif choice.answer_as == "label":
        gold = label_place(answer, letters)
    else:
        gold = _READERS[choice.answer_as](answer, options)
    if gold >= len(options):
        raise BadRecord("bad label", f"the answer {answer!r} is none of the {len(options)} options")
    return {"options": list(options), "letters": list(letters[: len(options)]), "gold": gold}


def _letters(choice: Choice, options: Sequence[str], values: Mapping[str, Any]) -> Sequence[str]:
    if choice.letters == "own":
        return own_labels(options)
    if choice.letters == "words":
        return list(values["words"].get("letters") or LETTERS)
    return list(choice.letters)
