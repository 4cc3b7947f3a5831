"""`--fail-under` and `--fail-over`: limits that a Makefile or CI can put on the measures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from seatools.streams.errors import CheckFailed, UsageError


@dataclass(frozen=True)
class Gate:
    """One limit; the value itself passes."""

    metric: str
    limit: float
    over: bool

    def broken(self, value: float) -> bool:
        return value > self.limit if self.over else value < self.limit


def parse_gates(under: Iterable[str], over: Iterable[str], known: Iterable[str]) -> list[Gate]:
    """From "metric=value"; UsageError for an unknown metric or no number."""
    gates = []
    known = list(known)
    for text, is_over in [*((text, False) for text in under), *((text, True) for text in over)]:
        metric, _, limit = text.partition("=")
        flag = "--fail-over" if is_over else "--fail-under"
        if metric not in known:
            raise UsageError(f'{flag}: no metric "{metric}"', fix=f"one of {', '.join(known)}")
        try:
            number = float(limit)
        except ValueError:
            number = math.nan
        if math.isnan(number):
            raise UsageError(f'{flag}: "{limit}" is not a number', fix=f"{flag} {metric}=0.5")
        gates.append(Gate(metric, number, is_over))
    return gates


def check_gates(gates: Iterable[Gate], records: Iterable[Mapping[str, Any]]) -> None:
    """CheckFailed with the broken limits; UsageError for a gate whose metric no record has (it would always pass)."""
    records = list(records)
    broken = []
    for gate in gates:
        matching = [record for record in records if record["metric"] == gate.metric]
        if not matching:
            hint = "parity needs --reference, drift two tokenizers, words a script with spaces or --segment"
            raise UsageError(f"nothing here has the metric {gate.metric}, so its limit checks nothing", fix=hint)
        for record in matching:
            if gate.broken(record["value"]):
                where = " ".join(part for part in (record["lang"], "with", record["model"]) if part)
                side = "over" if gate.over else "under"
                broken.append(f"{gate.metric} is {record['value']:.6g} for {where}, {side} {gate.limit:g}")
    if broken:
        more = f" (and {len(broken) - 3} more)" if len(broken) > 3 else ""
        raise CheckFailed("; ".join(broken[:3]) + more)
