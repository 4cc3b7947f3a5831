"""`--plan FILE.toml`: the sources, their weights and the phases of a mix, kept in a file.

    unit = "tokens"
    budget = "10B"
    [[source]]
    name = "th"
    files = "data/th-*.jsonl.zst"     # glob, folder, @list.txt, "-"; relative to the working directory
    weight = 3
    [[phase]]
    share = 0.1
    weights = { th = 1, en = 0 }      # SeaLLMs: good data again at the end
    max_epochs = { th = 8 }

What is typed on the command line wins over the file. Keys that are not known are errors. Numbers are exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from seatools.mix.phases import Phase
from seatools.streams.errors import UsageError
from seatools.streams.parsed import parse_toml
from seatools.streams.sizes import LARGEST, parse_count
from seatools.streams.source_specs import SourceSpec, check_name


@dataclass(frozen=True)
class PlanFile:
    """What a plan file says; `settings` holds the options that it gives, by the name of the field of MixOptions."""

    sources: list[SourceSpec] = field(default_factory=list)
    phases: list[Phase] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)


def read_plan_file(path: str | Path) -> PlanFile:
    """Raises UsageError, naming the file and the key, for what is not TOML, not known or not of its kind."""
    try:
        # Decimal, so that 0.1 is one tenth.
        table: dict[str, Any] = parse_toml(Path(path).read_text(encoding="utf-8"), parse_float=Decimal)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", fix="--plan names a TOML file") from error
    except ValueError as error:
        raise UsageError(f"{path}: not TOML: {error}", fix="--plan names a TOML file") from error
    sources, phases = _tables(table, "source", str(path)), _tables(table, "phase", str(path))
    settings = _read(table, _SETTINGS, str(path))
    return PlanFile(
        [_source(row, f"{path}: source {number}") for number, row in enumerate(sources, 1)],
        [_phase(row, f"{path}: phase {number}", number) for number, row in enumerate(phases, 1)],
        {key: value for key, value in settings.items() if value is not None},
    )


def _tables(table: dict[str, Any], key: str, path: str) -> list[dict[str, Any]]:
    rows = table.pop(key, [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UsageError(f"{path}: `{key}` is not a list of tables", fix=f"[[{key}]]")
    return rows


def _source(row: Mapping[str, Any], where: str) -> SourceSpec:
    found = _read(row, _SOURCE, where)
    for key in ("name", "files"):
        if found.get(key) is None:
            raise UsageError(f"{where} has no `{key}`", fix=f'{key} = "..."')
    return SourceSpec(
        name=found["name"],
        glob=found["files"],
        weight=found.get("weight"),
        max_epochs=found.get("max_epochs"),
        lang=found.get("lang"),
    )


def _phase(row: Mapping[str, Any], where: str, number: int) -> Phase:
    found = _read(row, _PHASE, where)
    if found.get("name"):
        check_name(found["name"], "a phase")
    return Phase(
        name=found.get("name") or str(number),
        share=found.get("share"),
        budget=found.get("budget"),
        weights=found.get("weights") or {},
        max_epochs=found.get("max_epochs") or {},
    )


def _read(table: Mapping[str, Any], kinds: Mapping[str, Callable[[Any], Any]], where: str) -> dict[str, Any]:
    """The values of a table by key, each as its kind makes it."""
    found = {}
    for key, value in table.items():
        if key not in kinds:
            import difflib

            close = difflib.get_close_matches(key, [*kinds, "source", "phase"], n=1)
            known = ", ".join(kinds)
            raise UsageError(
                f'{where}: no key "{key}"', fix=f"did you mean {close[0]}?" if close else f"known: {known}"
            )
        try:
            found[key] = kinds[key](value)
        except _WrongKind as error:
            raise UsageError(f"{where}: `{key}` is not {error}", fix=None) from None
        except UsageError as error:
            raise UsageError(f"{where}: `{key}`: {error.what}", fix=error.fix) from None
    return found


_MAX_EXPONENT = 100  # of weights, shares and temperatures; the command line takes two digits


class _WrongKind(Exception):
    """What a value should have been."""


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise _WrongKind("a string")
    return value


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise _WrongKind("a whole number of at least 1")
    if value > LARGEST:
        raise _WrongKind(f"a number up to {LARGEST:,}")
    return value


def _natural(value: Any) -> int:
    return 0 if value == 0 and not isinstance(value, bool) else _whole(value)


def _number(value: Any) -> Fraction:
    """A number of at least 0; NaN and infinity are none, and 1e999999999 as a fraction would fill the memory."""
    good = isinstance(value, int | Decimal) and not isinstance(value, bool)
    if not good or not Decimal(value).is_finite() or value < 0 or abs(Decimal(value).adjusted()) > _MAX_EXPONENT:
        raise _WrongKind("a number of at least 0")
    if len(Decimal(value).as_tuple().digits) > _MAX_EXPONENT:
        raise _WrongKind(f"a number of at most {_MAX_EXPONENT} digits")
    return Fraction(value)


def _count(value: Any) -> int:
    return parse_count(value if isinstance(value, str) else str(_whole(value)))


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _WrongKind("true or false")
    return value


def _one_of(*choices: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in choices:
            raise _WrongKind("one of " + ", ".join(choices))
        return str(value)

    return read


def _weights(value: Any) -> dict[str, Fraction]:
    if not isinstance(value, dict):
        raise _WrongKind("a table of weights: { th = 3, en = 1 }")
    return {name: _number(weight) for name, weight in value.items()}


def _caps(value: Any) -> dict[str, int]:
    """A cap for all sources, or one for each: 4, or { th = 8 }."""
    return {name: _whole(cap) for name, cap in value.items()} if isinstance(value, dict) else {"": _whole(value)}


_SETTINGS: dict[str, Callable[[Any], Any]] = {
    "unit": _one_of("tokens", "loss-tokens", "bytes", "docs"),
    "budget": _count,
    "max_epochs": _whole,
    "on_exhaust": _one_of("stop", "renormalize", "error"),
    "shuffle": _one_of("none", "global"),
    "temperature": lambda value: float(_number(value)),
    "unimax": _flag,
    "seed": _natural,
}
_SOURCE: dict[str, Callable[[Any], Any]] = {
    "name": _text,
    "files": _text,
    "weight": _number,
    "max_epochs": _whole,
    "lang": _text,
}
_PHASE: dict[str, Callable[[Any], Any]] = {
    "name": _text,
    "share": _number,
    "budget": _count,
    "weights": _weights,
    "max_epochs": _caps,
}
