"""`OUT.partial`: the outcomes of a run, from which it goes on after a kill, and from which OUT is written.

Its first line says what decides the answers: model, settings and the set of questions; a run that differs in any of
them is refused, since answers of two kinds in one file would look like one. Each further line is the outcome of one
question. Several processes append to files of their own (OUT.partial.rank1, ...), which the main one moves into the
first. Nothing reads the file but `sea sample --resume`; it goes when OUT is whole. Without OUT it is a temporary file.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from seatools.engine.world import World
from seatools.sample.answers import Outcome
from seatools.sample.questions import Question
from seatools.streams.appended_lines import AppendedLines, rank_file, rank_files
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.messages import Messages
from seatools.streams.records import BadRecord

_HEAD = "run"


def partial_path(output: str) -> Path:
    """Beside where the output will stand (a link's target, as the output itself)."""
    return Path(f"{os.path.realpath(output)}.partial")


def check_partial(path: Path, *, resume: bool, force: bool) -> None:
    """Raises UsageError where a killed run's file would be lost; with `force` it goes."""
    left = [file for file in (path, *rank_files(path)) if file.exists()]
    if left and not resume and not force:
        raise UsageError(f"{path} holds answers of a run that was killed", fix="--resume goes on, --force begins again")
    if force:
        for file in left:
            file.unlink()


def difference(before: Mapping[str, Any], run: Mapping[str, Any]) -> str | None:
    """In what two runs differ first ("another seed: 0, now 1"), None where they are the same."""
    now = orjson.loads(orjson.dumps(run))
    for name in [*before, *now]:
        if before.get(name) != now.get(name):
            was, is_ = (_brief(one.get(name)) for one in (before, now))
            return f"another {name}: {was}, now {is_}"
    return None


class Partial:
    """`with Partial(path, run, world, messages) as partial:` outcomes by the keys of their questions.

    `run`: what decides the answers, JSON. `path` None: a temporary file.
    """

    def __init__(self, path: Path | None, run: Mapping[str, Any], world: World, messages: Messages) -> None:
        self.run, self.world, self.messages = run, world, messages
        self._temporary = path is None
        if path is None:
            descriptor, name = tempfile.mkstemp(prefix=".sea-sample-", suffix=".partial")
            os.close(descriptor)
            path = Path(name)
        self.path = path
        self._lines: AppendedLines | None = None

    @property
    def lines(self) -> AppendedLines:
        assert self._lines is not None
        return self._lines

    def __enter__(self) -> Partial:
        if self.world.is_main:
            self._lines = AppendedLines(self.path, _key_of)
            try:
                self._begin()
            except BaseException:
                self._close()
                raise
        return self

    def _begin(self) -> None:
        if self.lines.cut_off:
            self.messages.debug(f"{self.path}: a last line that was cut off is taken away")
        if _HEAD in self.lines:
            self._check(orjson.loads(self.lines.get(_HEAD)))
        elif len(self.lines):
            raise UsageError(f"{self.path} is no file of sea sample", fix="move it away")
        else:
            self.lines.put(_HEAD, orjson.dumps({"key": _HEAD, _HEAD: self.run}) + b"\n")
        self.gather()
        if len(self):
            self.messages.info(f"{self.path} holds the answers to {len(self):,} prompts already")

    def _check(self, head: Any) -> None:
        before = head.get(_HEAD) if isinstance(head, dict) else None
        if not isinstance(before, dict):
            raise UsageError(f"{self.path} is no file of sea sample", fix="move it away")
        if (found := difference(before, self.run)) is not None:
            raise UsageError(
                f"{self.path} is of a run with {found}", fix="the same command as then, or --force to begin again"
            )

    def __len__(self) -> int:
        """Outcomes that are there."""
        return len(self.lines) - 1

    def missing(self, units: Sequence[Sequence[Question]]) -> list[int]:
        """The units (by index) with a question that has no outcome yet; all processes get the main one's list."""
        found = None
        if self.world.is_main:
            found = [at for at, unit in enumerate(units) if not all(question.key in self.lines for question in unit)]
        return self.world.first(found) or []

    def compute(self, todo: Sequence[int], answers: Callable[[int], Sequence[Outcome]]) -> None:
        """Add the outcomes of this process' share of the units `todo`, then those of the others."""
        mine = todo[self.world.rank :: self.world.size]
        if self.world.is_main:
            for unit in mine:
                self._add(self.lines, answers(unit))
            self.world.barrier()
            self.gather()
            return
        with AppendedLines(rank_file(self.path, self.world.rank), _key_of) as lines:
            for unit in mine:
                self._add(lines, answers(unit))
        self.world.barrier()

    @staticmethod
    def _add(lines: AppendedLines, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            lines.put(outcome.key, orjson.dumps(outcome) + b"\n")

    def gather(self) -> None:
        """Move what other processes have left into the main one's file."""
        for other in rank_files(self.path):
            with AppendedLines(other, _key_of) as lines:  # refused while another run writes to it
                for key in lines:
                    self.lines.put(key, lines.get(key))
            other.unlink()

    def get(self, key: str) -> Outcome:
        """The outcome of a question."""
        value = orjson.loads(self.lines.get(key))
        try:
            for name in ("responses", "finish", "scores", "reject"):
                if isinstance(value[name], list):
                    value[name] = tuple(value[name])
            outcome = Outcome(**value)
            sound = _is_sound(outcome)
        except (KeyError, TypeError):
            sound = False
        if not sound:
            raise SeaError(f"{self.path}: the answers kept under {key} are damaged", fix="--force begins again")
        return outcome

    def remove(self) -> None:
        """The output is whole: nothing is left to go on from."""
        self._close()
        self.path.unlink(missing_ok=True)

    def _close(self) -> None:
        if self._lines is not None:
            self._lines.close()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if not self.world.is_main:
            if self._temporary:
                self.path.unlink(missing_ok=True)
            return
        number = len(self) if self.path.exists() else 0
        self._close()
        if self._temporary or not number:
            self.path.unlink(missing_ok=True)
        elif error is not None and not isinstance(error, UsageError):
            self.messages.info(f"the answers to {number:,} prompts are in {self.path}; --resume goes on from there")


def _key_of(line: bytes) -> str:
    try:
        key = orjson.loads(line)["key"]
    except (orjson.JSONDecodeError, TypeError, KeyError):
        key = None
    if not isinstance(key, str):
        raise BadRecord("no outcome", "this is no line of a partial output of sea sample", fix="move the file away")
    return key


def _is_sound(outcome: Outcome) -> bool:
    """Whether an outcome is one that `compute` could have added: as many texts as endings and scores."""
    responses, finish, scores, reject = outcome.responses, outcome.finish, outcome.scores, outcome.reject
    return (
        all(isinstance(value, tuple | None) for value in (scores, reject)) and len(finish) == len(responses)
        and all(isinstance(text, str) for text in (*responses, *finish, *(reject or ()), outcome.engine))
        and isinstance(responses, tuple) and isinstance(finish, tuple) and (reject is None or len(reject) == 2)
        and (scores is None or len(scores) == len(responses))
        and all(score is None or type(score) is float for score in scores or ())
        and isinstance(outcome.prompt, str | list | None)
    )  # fmt: skip


def _brief(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) < 40 else text[:37] + "..."
