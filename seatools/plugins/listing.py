"""The table of plugins, with what keeps one from being used."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from seatools.streams.errors import CheckFailed, SeaError
from seatools.streams.plugins import GROUPS, Plugin, installed
from seatools.streams.provenance import printable
from seatools.streams.records import dump
from seatools.text.cleaning.language_tiers import BUILT_IN as TIERS
from seatools.text.cleaning.quality import RULES

_PACKAGE = Path(__file__).resolve().parents[1]


def built_in(group: str) -> set[str]:
    """The names that sea itself has in a group. Of commands and tasks the files are looked at, nothing is imported."""
    if group == "sea.commands":
        return {"help", *(file.parent.name.replace("_", "-") for file in _PACKAGE.glob("*/command.py"))}
    if group == "sea.tasks":
        return {file.stem for file in _PACKAGE.glob("eval/tasks/*.toml")}
    return set(TIERS if group == "sea.lid" else RULES)


def show(*, load: bool, json: bool) -> None:
    """List them on stdout. Raises CheckFailed if one of them cannot be used."""
    lines, bad = [], []
    for group in GROUPS:
        found = installed(group)
        times = Counter(plugin.name for plugin in found)
        for plugin in found:
            why = _fault(plugin, built_in(group), times, load)
            if why:
                bad.append(plugin)
            row = {"group": group, "name": plugin.name, "value": plugin.value, "distribution": plugin.distribution}
            if json:
                lines.append(dump(row | {"version": plugin.version, "usable": not why, "why": why}))
            else:
                text = f"{group:<12}  {plugin.name:<16}  {plugin.distribution} {plugin.version}"
                lines.append(printable(text + (f"  NOT USED: {why}" if why else "")).encode())
    sys.stdout.buffer.write(b"".join(line + b"\n" for line in lines))
    if not lines and not json:
        sys.stdout.write("no plugins; docs/plugins.md tells how one is written\n")
    if bad:
        names = ", ".join(f'"{plugin.name}" of {plugin.distribution}' for plugin in bad)
        raise CheckFailed(f"not usable: {names}", fix="sea plugins --json says why; their authors mend it")


def _fault(plugin: Plugin, taken: set[str], times: Counter[str], load: bool) -> str:
    if plugin.name in taken:
        return "the name is built in"
    if times[plugin.name] > 1:
        return "several distributions bring this name"
    try:
        if load:
            plugin.load()
    except SeaError as error:
        return error.what
    return ""
