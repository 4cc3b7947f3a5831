"""What a judge reads about one turn of a conversation, by the templates of a task of type judge."""

from __future__ import annotations

from collections.abc import Sequence

from seatools.eval.items import JudgeItem, Message
from seatools.eval.questions import given
from seatools.eval.task_parts import TaskFile


def judge_messages(task: TaskFile, item: JudgeItem, turn: int, answers: Sequence[str]) -> tuple[Message, ...]:
    """The judge's chat about turn `turn` (from 0), of which `answers` holds the answers up to it.

    The answers are put in as text: nothing that a model writes is read as a template.
    """
    assert task.judge is not None
    if not 0 <= turn < len(task.judge.turns) or len(answers) <= turn:
        raise ValueError(f"turn {turn} of {len(task.judge.turns)}, with {len(answers)} answers")
    values = {**given(task, item.lang), **item.fields, "row": item.fields, "answers": list(answers)}
    values["instruction"] = task.judge.instruction.render(values)
    system = task.judge.systems[turn].render(values)
    asked = {"role": "user", "content": task.judge.turns[turn].render(values)}
    return ({"role": "system", "content": system}, asked) if system else (asked,)
