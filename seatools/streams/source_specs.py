"""`NAME=GLOB[:WEIGHT[@MAX_EPOCHS]]`: one source of a mix, as it is typed.

The weight is read from the right: after the last ':' stands a number, perhaps with '@' and a whole number behind it
(":@2" is a cap without a weight). Weights are exact fractions ("0.1" is one tenth), so the schedule never rounds.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from seatools.streams.errors import UsageError
from seatools.streams.inputs import parse_labelled

_EXAMPLE = "NAME=GLOB:WEIGHT, for example  th=data/th-*.jsonl.zst:3"
_WEIGHT = re.compile(r"(?:([0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:[eE]([+-]?[0-9]{1,2}))?)?(?:@([0-9]{1,18}))?")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")  # what `parse_labelled` takes for one
MAX_SOURCES = 1 << 16  # source ids are u16 in packed data and in the schedule


@dataclass(frozen=True, kw_only=True)
class SourceSpec:
    """One source: its name, where its documents are, its share of the mix, how often it may be read."""

    name: str
    glob: str
    """A path, glob, folder, `@list.txt`, or `-` for stdin."""
    weight: Fraction | None = None
    """Shares are weights over their sum. None: 1, or what `--temperature` or `--unimax` make of it."""
    max_epochs: int | None = None
    """Its own cap, or None for the one of `--max-epochs`."""
    lang: str | None = None
    """The language of records that do not name their own (`--balance lang`)."""
    part_of: str | None = None
    """The source that this one is a part of, if it was split; it has that source's weight, divided by `parts`."""
    parts: int = 1

    def __post_init__(self) -> None:
        if self.part_of is None:
            check_name(self.name, "a source")
        if self.weight is not None and self.weight < 0:
            raise UsageError(f"source {self.name}: the weight must be greater than 0", fix=_EXAMPLE)
        if self.max_epochs is not None and self.max_epochs < 1:
            raise UsageError(f"source {self.name}: @{self.max_epochs} must be at least @1", fix="NAME=GLOB:WEIGHT@2")
        if self.glob == "-" and (self.max_epochs or 1) > 1:
            raise UsageError(f"source {self.name}: stdin gives one epoch only", fix=f"{self.name}=-:{self.weight or 1}")

    @property
    def family(self) -> str:
        """The name under which weights and caps are given: its own, or that of the source it is a part of."""
        return self.part_of or self.name


def check_name(name: str, what: str) -> None:
    """Names stand in tables on a terminal and before "=" on the command line: UsageError for others."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"{ascii(name)} cannot name {what}", fix="letters a-z, digits, _ . and -, a letter first")


def parse_source(argument: str) -> SourceSpec:
    """One argument as a SourceSpec. Raises UsageError when it has no name, no path or a weight that is no number."""
    name, rest = parse_labelled(argument)
    if name is None:
        what = f'"{argument}" has no name' + (" of letters a-z, digits, _, . and -" if "=" in argument else "")
        raise UsageError(what, fix=_EXAMPLE)
    glob, colon, tail = rest.rpartition(":")
    match = _WEIGHT.fullmatch(tail) if colon and tail else None
    if match is None:
        # "folder:v2/a.jsonl" is a path, and so is a "v:2.jsonl" that exists; "a.jsonl:three" is a mistake.
        if colon and "/" not in tail and not os.path.exists(rest):
            what = f'source {name}: "{tail}" is not a weight greater than 0 (or WEIGHT@MAX_EPOCHS with whole epochs)'
            raise UsageError(what, fix=_EXAMPLE)
        return SourceSpec(name=name, glob=rest)
    if not glob:
        raise UsageError(f"source {name}: no path stands before :{tail}", fix=_EXAMPLE)
    number, exponent, epochs = match.groups()
    weight = None if number is None else Fraction(number) * Fraction(10) ** int(exponent or 0)
    if weight == 0:
        raise UsageError(f"source {name}: the weight must be greater than 0", fix=_EXAMPLE)
    return SourceSpec(name=name, glob=glob, weight=weight, max_epochs=int(epochs) if epochs else None)


def parse_sources(arguments: Sequence[str]) -> list[SourceSpec]:
    """All arguments, in the order given. Raises UsageError when a name or stdin appears twice."""
    specs = [parse_source(argument) for argument in arguments]
    check_sources(specs)
    return specs


def check_sources(specs: Sequence[SourceSpec]) -> None:
    """Refuse sources that cannot stand together: a name or stdin twice, too many."""
    if sum(spec.glob == "-" for spec in specs) > 1:
        raise UsageError("stdin can be one source only")
    check_names(specs)


def check_names(specs: Sequence[SourceSpec]) -> None:
    """Refuse a name that stands twice, and too many sources."""
    names = [spec.name for spec in specs]
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled:
        fix = f"one {doubled}= with a glob or an @list.txt, or another name"
        raise UsageError(f"two sources are named {doubled}", fix=fix)
    if len(specs) > MAX_SOURCES:
        raise UsageError(f"{len(specs):,} sources; {MAX_SOURCES:,} are allowed")
