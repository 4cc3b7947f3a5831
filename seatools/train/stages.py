"""A schedule of stages in one config: `[[stage]]` tables, each a run of its own that begins where the last one ended.

    [[stage]]              # new rows first
    name = "new-rows"
    train = "new-rows"
    lr = 1e-3
    max-steps = 200
    [[stage]]              # then the body, on the DATA of the command line
    name = "body"
    [[stage]]              # then chat
    name = "sft"
    data = ["chat.jsonl"]
    lr = 2e-5

Keys are options of `sea train` on how to train, `preset`, `name` and `data`; what a stage leaves out is as the command
line says. Each stage is a whole run in OUT/stages/K-NAME, so that one of them can be evaluated, resumed and shipped by
itself, and no state of the optimiser passes from one to the next.
"""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seatools.streams.errors import UsageError
from seatools.streams.flags import read_config
from seatools.train.options import TrainOptions
from seatools.train.presets import PRESETS

SECTION = "stage"
FOLDER = "stages"
_OF_ALL = ("seed", "device", "dtype")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage: where in the schedule, from 1, its options, and its own data if it has any."""

    number: int
    name: str
    options: TrainOptions
    data: tuple[str, ...] = ()
    explicit_seq_len: int | None = None

    @property
    def folder(self) -> str:
        """The name of its run's folder."""
        return f"{self.number}-{self.name}"


def read_stages(config: Path | None, options: TrainOptions, seq_len: int | None) -> list[Stage]:
    """The stages in a config file over the options of the command line; [] where it has none.

    `seq_len` is --seq-len if it was typed. Raises UsageError, with file and stage, for what cannot be a stage.
    """
    tables = {} if config is None else read_config(config, "train", keep=(SECTION,))
    listed = tables.get(SECTION)
    if listed is None:
        return []
    if not isinstance(listed, list) or not listed or not all(isinstance(row, dict) for row in listed):
        raise UsageError(f"{config}: stages are an array of tables", fix="[[stage]]")
    stages = [
        _stage(number, row, options, seq_len, f"{config}: stage {number}") for number, row in enumerate(listed, 1)
    ]
    names = [stage.name for stage in stages]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise UsageError(f'{config}: two stages are called "{repeated}"', fix="give each a name of its own")
    return stages


def _stage(number: int, row: Mapping[str, Any], options: TrainOptions, seq_len: int | None, where: str) -> Stage:
    values = {key.replace("-", "_"): value for key, value in row.items()}
    name = values.pop("name", f"stage-{number}")
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise UsageError(f"{where}: name {name!r} cannot be part of a folder's name", fix="letters, digits, . _ -")
    data = values.pop("data", [])
    data = [data] if isinstance(data, str) else data
    if not isinstance(data, list) or not all(isinstance(item, str) for item in data):
        raise UsageError(f"{where}: data is a list of strings", fix='data = ["th=th.jsonl", "en=en.jsonl"]')
    preset = values.pop("preset", None)
    if preset is not None:
        if preset not in PRESETS:
            raise UsageError(f"{where}: no preset {preset!r}", fix=f"one of {', '.join(PRESETS)}")
        values = {key.replace("-", "_"): value for key, value in PRESETS[preset].values.items()} | values
    if "neurons" in values:
        values["train"] = f"neurons={values.pop('neurons')}"
    kinds = typing.get_type_hints(TrainOptions)
    for key, value in values.items():
        if key in _OF_ALL or (key == "from_config" and number > 1):
            raise UsageError(f'{where}: "{key.replace("_", "-")}" is not of one stage', fix="say it above [[stage]]")
        if key not in kinds:
            import difflib

            close = difflib.get_close_matches(key, kinds, n=1)
            fix = f"did you mean {close[0].replace('_', '-')}?" if close else "keys are options of how to train"
            raise UsageError(f'{where}: no option "{key.replace("_", "-")}" in a stage', fix=fix)
        values[key] = _fitted(value, kinds[key], f'{where}: "{key.replace("_", "-")}"')
    if number > 1:
        values["from_config"] = False
    try:
        resolved = dataclasses.replace(options, **values)
    except UsageError as error:
        raise UsageError(f"{where}: {error.what}", fix=error.fix) from error
    return Stage(
        number=number, name=name, options=resolved, data=tuple(data), explicit_seq_len=values.get("seq_len", seq_len)
    )


def _fitted(value: Any, kind: Any, where: str) -> Any:
    """`value` of a TOML file as an option of type `kind`. Raises UsageError where it is none."""
    allowed = typing.get_args(kind) or (kind,)
    if typing.get_origin(kind) is tuple:
        parts = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
        if isinstance(parts, list) and all(isinstance(part, str) for part in parts):
            return tuple(parts)
        raise UsageError(f"{where} is a list of strings")
    if float in allowed and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if typing.get_origin(kind) is typing.Literal:
        return value  # checked where the options are
    if not any(type(value) is item for item in allowed):
        raise UsageError(f"{where} is {value!r}", fix=f"it takes {' or '.join(item.__name__ for item in allowed)}")
    return value
