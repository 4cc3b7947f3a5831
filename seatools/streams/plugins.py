"""What installed packages add, by entry points: commands, evaluation tasks, language identification, quality rules.

    [project.entry-points."sea.tasks"]
    wisesight = "sea_wisesight:TASK"

Only metadata is read to know the names; a plugin is imported when its name is used, after everything built in has been
tried, so what is built in costs nothing and cannot be replaced. `SEA_LOAD_PLUGINS=` (empty) turns all off, and a list
of distributions, separated by commas, all others. docs/plugins.md has what each group expects.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from seatools.streams.errors import SeaError, UsageError

GROUPS = {
    "sea.commands": "commands: `main(argv) -> int`",
    "sea.tasks": "evaluation tasks: the path of a TOML file, its text, or a function that gives one of these",
    "sea.lid": "language identification for --lang-id: `(text) -> code | None`, with `languages`",
    "sea.filters": "measures for --quality-rules: `(text, lang) -> number | None`",
}
SELECTION = "SEA_LOAD_PLUGINS"


@dataclass(frozen=True)
class Plugin:
    """One entry point: its group and name, `module:attribute`, and the distribution that brings it."""

    group: str
    name: str
    value: str
    distribution: str
    version: str

    def load(self) -> Any:
        """Import it. Raises SeaError, with the distribution's name, for whatever goes wrong in there."""
        from importlib.metadata import EntryPoint

        try:
            return EntryPoint(self.name, self.value, self.group).load()
        except Exception as error:
            raise self.failed("cannot be loaded", error) from error

    def call(self, function: Any, *arguments: Any) -> Any:
        """`function(*arguments)` of this plugin. Raises SeaError as `load` does; a SeaError of its own goes through."""
        try:
            return function(*arguments)
        except SeaError:
            raise
        except Exception as error:
            raise self.failed("failed", error) from error

    def failed(self, how: str, error: object) -> SeaError:
        """The one line that tells whose fault it is."""
        text = (str(error).strip() or "no message").split("\n")[0][:200]
        kind = f"{type(error).__name__}: " if isinstance(error, Exception) else ""
        return SeaError(
            f'the plugin "{self.name}" of {self.distribution} {how}: {kind}{text}',
            fix=f"pip install -U {self.distribution}, or turn plugins off with {SELECTION}=",
        )


def plugins(group: str) -> dict[str, Plugin]:
    """Name -> plugin of a group, as far as they are turned on. UsageError where two distributions bring one name."""
    found: dict[str, Plugin] = {}
    for plugin in installed(group):
        other = found.setdefault(plugin.name, plugin)
        if other.distribution != plugin.distribution:
            raise UsageError(
                f'both {other.distribution} and {plugin.distribution} bring a plugin "{plugin.name}" ({group})',
                fix=f"{SELECTION}={other.distribution} chooses",
            )
    return found


def find_plugin(group: str, name: str) -> tuple[Plugin, Any] | None:
    """A plugin and its object, imported now; None where there is none of that name."""
    plugin = plugins(group).get(name)
    return None if plugin is None else (plugin, plugin.load())


def find_function(group: str, name: str) -> tuple[Plugin, Any] | None:
    """As `find_plugin`, of a plugin that has to be callable."""
    found = find_plugin(group, name)
    if found is not None and not callable(found[1]):
        raise found[0].failed("cannot be used", f"{found[0].value} is no function")
    return found


def task_text(name: str) -> str | None:
    """The TOML of a plugin's task; None where there is none of that name."""
    found = find_plugin("sea.tasks", name)
    if found is None:
        return None
    plugin, value = found
    if callable(value):
        value = plugin.call(value)
    if isinstance(value, str) and "\n" in value:
        return value
    if hasattr(value, "read_text"):  # a Path, or a file of importlib.resources
        return str(plugin.call(lambda: value.read_text(encoding="utf-8")))
    if not isinstance(value, str):
        raise plugin.failed("gives no task", f"{type(value).__name__} is neither a path nor TOML")
    with plugin.call(open, value, "r", -1, "utf-8") as stream:
        return str(plugin.call(stream.read))


def installed(group: str, environ: Mapping[str, str] = os.environ) -> list[Plugin]:
    """All plugins of a group that are turned on, by name and distribution."""
    selection = environ.get(SELECTION)
    if selection is not None and not selection.strip():
        return []
    from importlib.metadata import distributions

    wanted = None if selection is None else {_normal(part) for part in selection.split(",")}
    found: dict[tuple[str, str], Plugin] = {}
    seen: set[str] = set()
    for distribution in distributions():
        try:
            name, version = distribution.metadata["Name"] or "?", distribution.metadata["Version"] or "?"
            if _normal(name) in seen:  # further back on the path: not the one that is imported
                continue
            seen.add(_normal(name))
            entries = distribution.entry_points if wanted is None or _normal(name) in wanted else ()
        except Exception as error:  # importlib parses what stands there, and raises whatever that comes to
            raise SeaError(
                f"the metadata of an installed package cannot be read: {str(error) or type(error).__name__}"[:300],
                where=str(getattr(distribution, "_path", "?")),
                fix=f"install it again, or turn plugins off with {SELECTION}=",
            ) from error
        for entry in entries:
            if entry.group == group:
                found[entry.name, name] = Plugin(group, entry.name, entry.value, name, version)
    return [found[key] for key in sorted(found)]


def _normal(name: str) -> str:
    return name.strip().lower().replace("_", "-").replace(".", "-")
