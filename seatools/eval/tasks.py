"""The names of tasks, and which data goes to which."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from seatools.eval.choice import Choice
from seatools.eval.perplexity import Perplexity
from seatools.eval.row_formats import FORMATS
from seatools.eval.setup import Task
from seatools.eval.sources import Source
from seatools.eval.translation import Translation
from seatools.streams.errors import SeaError, UsageError

TASKS: dict[str, Task] = {
    "perplexity": Perplexity(),
    **{name: Choice(name) for name in FORMATS},
    "translation": Translation("translation"),
    "chrf": Translation("chrf"),
}


def pick_tasks(names: Sequence[str]) -> list[Task]:
    """The tasks of these names. Raises UsageError for one that is unknown or named twice."""
    for place, name in enumerate(names):
        if name not in TASKS:
            close = difflib.get_close_matches(name, TASKS, n=1)
            hint = f"did you mean {close[0]}?" if close else f"tasks are {', '.join(TASKS)}"
            raise UsageError(f'no task "{name}"', fix=hint)
        if name in names[:place]:
            raise UsageError(f"the task {name} is named twice")
    return [TASKS[name] for name in names]


def assign(tasks: Sequence[Task], sources: Sequence[Source]) -> dict[str, list[Source]]:
    """Task name -> its data. One task gets all of it; of several, each gets the sources whose first record fits it."""
    if len(tasks) == 1:
        return {tasks[0].name: list(sources)}
    given = {task.name: [source for source in sources if task.accepts(source.first)] for task in tasks}
    for source in sources:
        if not any(source in own for own in given.values()):
            raise SeaError(
                f"none of the tasks {', '.join(given)} takes these records (keys: {', '.join(source.first)})",
                where=source.shown,
            )
    for task in tasks:
        if not given[task.name]:
            raise UsageError(f"no data for the task {task.name}", fix=f"--data LANG=FILE of records with {task.needs}")
    return given
