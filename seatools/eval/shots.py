"""Solved examples before a question: which ones, and how they stand there as text or as turns of a chat.

The first K of the language's shots, or of those that have `same` in common with the question (M3Exam: level and
subject; SeaExam: subject). They are fixed, so that all questions of a group share a prefix that the engine reads once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from seatools.eval.items import Message
from seatools.eval.number_formats import base_language
from seatools.eval.questions import Question, questions_of
from seatools.eval.sources import Source
from seatools.eval.task_parts import TaskFile
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.records import BadRecord


@dataclass
class SolvedExamples:
    """The shots of one language, grouped by what they must share with a question."""

    task: TaskFile
    lang: str
    count: int
    groups: dict[tuple[Any, ...], list[Question]] = field(default_factory=dict)
    _texts: dict[tuple[str, ...], str] = field(default_factory=dict)

    def for_question(self, question: Question) -> list[Question]:
        """Raises UsageError where there are too few."""
        if self.count == 0:
            return []
        own = self.groups.get(self._group(question), [])[: self.count]
        if len(own) < self.count and not (own and self.task.shots.fewer):
            like = f" like {question.where}" if self.task.shots.same else ""
            raise UsageError(
                f"{len(own)} shots for {self.lang}{like}, --shots asks for {self.count}",
                fix=f"--shots-data {self.lang}=FILE with more",
            )
        if any(one.content == question.content for one in own):
            raise UsageError(
                f"{question.where}: this question is one of the shots", fix="give --shots-data other records"
            )
        return own

    def _group(self, question: Question) -> tuple[Any, ...]:
        return tuple(str(expression.value(question.values)) for expression in self.task.shots.same)

    def text(self, solved: Sequence[Question]) -> str:
        """The examples as they stand before a prompt, each with its separator."""
        group = tuple(question.where for question in solved)
        fixed = self.task.choice is None or self.task.choice.shuffle is None
        if fixed and group in self._texts:
            return self._texts[group]
        text = "".join(self._one(question) + self.task.shots.separator for question in solved)
        if fixed:
            self._texts[group] = text
        return text

    def _one(self, question: Question) -> str:
        template = self.task.shots.template
        if template is not None:
            return question.render(template)
        return f"{self._asked(question)}{self.task.delimiter}{question.answer}"

    def _asked(self, question: Question) -> str:
        template = self.task.shots.prompt
        return question.prompt if template is None else question.render(template)

    def turns(self, solved: Sequence[Question]) -> list[Message]:
        """The examples as turns of a chat."""
        found = []
        for question in solved:
            shots = self.task.shots
            if shots.shape is not None and (shots.prompt is None or shots.answer is None):
                raise UsageError(f"{self.task.name} does not say how its shots stand in a chat", fix="--shots 0")
            found.append({"role": "user", "content": self._asked(question).strip("\n")})
            found.append({"role": "assistant", "content": question.answer.strip()})
        return found


def solved_examples(task: TaskFile, sources: Sequence[Source], lang: str, count: int) -> SolvedExamples:
    """The shots of a language; a bad one is an error whatever `--on-error` says, naming file and line.

    Raises UsageError where the language has too few.
    """
    found = SolvedExamples(task, lang, count)
    if count == 0:
        return found
    shape = task.shots.shape
    own = base_language(lang)
    records = [record for source in sources if base_language(source.lang) == own for record in source.records]
    fitting = [r for r in records if (shape.fits(r.value) if shape else task.shape_of(r.value, named=True))]
    number = 0
    for record in fitting or records:
        try:
            for question in questions_of(task, record, lang, shape):
                found.groups.setdefault(found._group(question), []).append(question)
                number += 1
        except BadRecord as error:
            error.where = error.where or record.where
            raise
        except SeaError as error:
            raise BadRecord("bad shot", error.what, where=record.where, fix=error.fix) from error
        if not task.shots.same and number >= count:
            break
    if number < count and not (number and task.shots.fewer):
        raise UsageError(f"{number} shots for {lang}, --shots asks for {count}", fix=f"--shots-data {lang}=FILE")
    return found
