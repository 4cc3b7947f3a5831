"""`OUT.manifest.json`: how an output was made. Everything but `run` (clock, host) repeats with the same inputs.

Holds the tool's version, the command line and what configuration added to it, the resolved options, the seed, inputs
and outputs with bytes and sha256, counts, and rejects by reason. An input that was itself made by sea has the digest of
its manifest (`parent`), so a chain can be followed; `streams/provenance.py` reads it. It is written after the output,
so an output without one is incomplete. Schema 2 added `settings`, `parent` and `run.folder`.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

import orjson

from seatools import __version__
from seatools.streams.command_line import current
from seatools.streams.digests import MODEL_FILES, folder_digest, sha256_file
from seatools.streams.outputs import write_atomic
from seatools.streams.provenance import as_recorded, manifest_path, parent_digest

SCHEMA = 2


@dataclass
class Manifest:
    """What a command records while it runs; `write` adds the outputs' digests and stores it beside each."""

    command: str
    options: Any = None
    seed: int | None = None
    inputs: list[dict[str, Any]] = field(default_factory=list)
    counts: dict[str, Any] = field(default_factory=dict)
    rejects: Mapping[str, int] = field(default_factory=dict)
    known: dict[str, str | None] = field(default_factory=dict)
    """sha256 of files that were hashed on their way, by real path, so that they are not read again; None for a file
    that is recorded by its size, as it was neither read nor written (a hard link)."""
    started: float = field(default_factory=time.time)

    def add_input(self, path: str | Path, digest: str | None = None, **more: Any) -> None:
        """Record one input: a file, a model or tokenizer folder, or stdin with a digest already known."""
        row: dict[str, Any] = {"path": _plain(path)}
        if str(path) == "-":
            row["sha256"] = digest
        elif os.path.isdir(path):
            row["bytes"] = sum(file.stat().st_size for mask in MODEL_FILES for file in Path(path).glob(mask))
            row["sha256"] = digest or folder_digest(path, known=self.known)
            by_size = [
                file.name for file in sorted(Path(path).iterdir()) if self.known.get(os.path.realpath(file), "") is None
            ]
            if by_size:
                row["by_size"] = by_size
        elif os.path.isfile(path):
            row["bytes"] = os.path.getsize(path)
            row["sha256"] = digest or self._digest(path)
        if str(path) != "-" and (parent := parent_digest(path)) is not None:
            row["parent"] = parent
        self.inputs.append(row | more)

    def add_inputs(self, paths: Iterable[str | Path], stdin_digest: str | None = None) -> None:
        """Record several inputs; `stdin_digest` is that of `-`, if it is among them."""
        for path in paths:
            self.add_input(path, stdin_digest if str(path) == "-" else None)

    def write(self, *outputs: str | Path | None) -> None:
        """Store the manifest beside each output file or folder; stdout (None, "-") gets none."""
        named = [Path(output) for output in outputs if output is not None and str(output) != "-"]
        named = [output for output in named if output.is_file() or output.is_dir()]
        rows = [self._output(output) for output in named]
        line = current()
        body = {
            "schema": SCHEMA,
            "tool": f"sea {__version__}",
            "command": self.command,
            "argv": _plain(line.argv),
            "settings": _plain(line.settings),
            "options": _plain(self.options),
            "seed": self.seed,
            "inputs": self.inputs,
            "outputs": rows,
            "counts": self.counts,
            "rejects": dict(sorted(self.rejects.items())),
            "run": {
                "started": _clock(self.started),
                "finished": _clock(time.time()),
                "folder": _plain(os.getcwd()),
                "host": platform.node(),
                "python": platform.python_version(),
                "platform": platform.platform(),
            },
        }
        text = orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY) + b"\n"
        for output in named:
            write_atomic(manifest_path(output), text)

    def _output(self, path: Path) -> dict[str, Any]:
        if path.is_dir():
            files = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
            listed = [
                {"path": _plain(file.name), "bytes": file.stat().st_size, "sha256": self._digest(file)}
                for file in files
                if file.name != "metrics.jsonl"  # grows with the clock in it
            ]
            return {"path": _plain(path), "files": listed}
        return {"path": _plain(path), "bytes": path.stat().st_size, "sha256": self._digest(path)}

    def _digest(self, path: str | Path) -> str | None:
        place = os.path.realpath(path)
        return self.known[place] if place in self.known else sha256_file(path)


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _plain(value: Any) -> Any:
    """Options as JSON: dataclasses by field, paths as text (bytes of a name that are not UTF-8 escaped)."""
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = [_plain(item) for item in value]
        return sorted(items, key=str) if isinstance(value, set | frozenset) else items
    if isinstance(value, int | float | None):
        return value
    return as_recorded(str(value))
