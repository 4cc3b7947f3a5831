"""The tasks of a command line, which data goes to which, and their items.

The task `choice` takes the rows of any built-in multiple-choice task and asks them as that one does; `chrf` is another
name of `translation`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from seatools.eval.items import Item
from seatools.eval.line_pairs import parse_pair
from seatools.eval.read_items import read_items, shots_asked
from seatools.eval.setup import Options
from seatools.eval.sources import Source
from seatools.eval.task_file import TaskFile, load_task, task_of
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.records import Rejects

ALIASES = {"chrf": "translation"}


@dataclass(frozen=True)
class Named:
    """A task under the name that the user gave it."""

    name: str
    file: TaskFile

    @property
    def takes_shots(self) -> bool:
        return self.file.type not in ("perplexity", "tokenizer", "judge")

    def fits(self, value: Mapping[str, Any]) -> bool:
        """Whether a record looks like one of this task's."""
        if self.file.type == "translation":
            return isinstance(value.get("text"), str)
        return self.file.recognises(value) or (self.name == "choice" and task_of(value) is not None)


def pick_tasks(names: Sequence[str]) -> list[Named]:
    """The tasks of these names. Raises UsageError for one that is unknown or named twice."""
    found = []
    for place, name in enumerate(names):
        file = load_task(ALIASES.get(name, name))
        if name in names[:place]:
            raise UsageError(f"the task {name} is named twice")
        found.append(Named(name if name in ALIASES else file.name, file))
    own = [task.name for task in found]
    if len(set(own)) < len(own):
        raise UsageError(f"two tasks are called {next(name for name in own if own.count(name) > 1)}", fix="rename one")
    return found


def assign(tasks: Sequence[Named], sources: Sequence[Source]) -> dict[str, list[Source]]:
    """Task name -> its data. One task gets all of it; of several, each gets the sources whose first record fits it."""
    if len(tasks) == 1:
        return {tasks[0].name: list(sources)}
    given = {task.name: [source for source in sources if task.fits(source.first)] for task in tasks}
    for source in sources:
        if not any(source in own for own in given.values()):
            raise SeaError(
                f"none of the tasks {', '.join(given)} takes these records (keys: {', '.join(source.first)})",
                where=source.shown,
            )
    for task in tasks:
        if not given[task.name]:
            fix = f"--data LANG=FILE of records with {task.file.needs}"
            raise UsageError(f"no data for the task {task.name}", fix=fix)
    return given


@dataclass(frozen=True)
class Asked:
    """The items of one task in one language, and what their answers depend on beside model and data."""

    task: Named
    file: TaskFile
    lang: str
    items: tuple[Item, ...]
    config: Mapping[str, Any]
    chat: bool
    judged: bool = False
    """Whether a judge scores the answers."""


def ask(
    task: Named, sources: Sequence[Source], shots: Sequence[Source], options: Options, *, rejects: Rejects
) -> list[Asked]:
    """The items of a task, a group for each language (and form of rows). Raises what `read_items` raises."""
    if task.takes_shots and shots and options.shots is None and task.file.shots.count == 0:
        raise UsageError(f"--shots-data, but {task.name} takes no shots by itself", fix="--shots K")
    by_file: dict[str, tuple[TaskFile, list[Source]]] = {}
    for source in sources:
        file = _file_of(task, source, options)
        by_file.setdefault(file.name, (file, []))[1].append(source)
    found = []
    for file, own in by_file.values():
        num_shots = options.shots if task.takes_shots else None
        chat = bool(options.chat) or file.chat == "required"
        if options.chat is False and file.chat == "required":
            raise UsageError(f"{task.name} is asked as a chat only", fix="leave out --no-chat")
        pairs = [parse_pair(pair) for pair in options.pairs] or None
        items = read_items(
            file, own, shots, num_shots=num_shots, chat=chat, limit=options.limit,
            max_new_tokens=options.max_new_tokens, pairs=pairs, rejects=rejects,
        )  # fmt: skip
        if options.system is not None and chat:
            items = [_with_system(item, options.system) for item in items]
        count = shots_asked(file, shots, num_shots) if task.takes_shots else 0
        for lang in dict.fromkeys(item.lang for item in items):
            mine = tuple(replace(item, task=task.name) for item in items if item.lang == lang)
            found.append(Asked(task, file, lang, mine, _config(task, file, lang, shots, count, options, chat), chat))
    return found


def _file_of(task: Named, source: Source, options: Options) -> TaskFile:
    if task.name != "choice":
        return task.file
    if options.format != "auto":
        return load_task(options.format)
    found = next((file for record in source.records if (file := task_of(record.value)) is not None), None)
    if found is None:
        raise SeaError(
            f"no multiple-choice format has these keys: {', '.join(source.first)}",
            where=source.shown,
            fix=f"make records with {task.file.needs}",
        )
    return found


def _with_system(item: Item, system: str) -> Item:
    """The item with this system turn, in place of its own."""
    turn = {"role": "system", "content": system}
    if hasattr(item, "turns"):
        return replace(item, system=system)  # type: ignore[call-arg]
    prompt = getattr(item, "prompt", None)
    if not isinstance(prompt, tuple):
        return item
    return replace(item, prompt=(turn, *(message for message in prompt if message["role"] != "system")))  # type: ignore[call-arg]


def _config(
    task: Named, file: TaskFile, lang: str, shots: Sequence[Source], count: int, options: Options, chat: bool
) -> dict[str, Any]:
    """The settings of a task and language that are in the samples' keys."""
    config: dict[str, Any] = {"task_digest": file.digest()[:16]}
    if file.type == "choice":
        config["format"] = file.name
    if task.takes_shots:
        config["shots"] = count
    if count:
        total = hashlib.sha256()
        wanted = lang.split("-") if file.type == "translation" else [lang]
        for source in shots:
            if file.type == "translation" and source.lang not in wanted:
                continue
            for record in source.records:
                total.update(record.raw + b"\n")
        config["shots_digest"] = total.hexdigest()[:16]
    if chat:
        config["chat"] = True
        if options.system is not None:
            config["system"] = options.system
    if file.type in ("generation", "translation", "judge"):
        config["max_new_tokens"] = options.max_new_tokens or file.max_new_tokens
    return config
