"""`--depfile` and `--skip-existing`: what a Makefile and a loop ask of a command that writes OUT, by its manifest.

A manifest is written after its output, so an output that has one is complete.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from seatools.streams.digests import MODEL_FILES
from seatools.streams.errors import SeaError
from seatools.streams.outputs import write_atomic
from seatools.streams.provenance import Made, as_typed, manifest_path, read_manifest


def is_complete(output: str | Path) -> bool:
    """Whether an output and its manifest are there."""
    return os.path.exists(output) and manifest_path(output).is_file()


def write_depfile(path: str | Path, output: str | Path) -> None:
    """A rule of Make: OUT and the files that it was made from, each of which also may vanish (`file:`).

    Raises SeaError for a name that no Makefile can hold, or without a manifest.
    """
    made = read_manifest(manifest_path(output))
    files = list(dict.fromkeys(_files(made)))
    names = [_escaped(name) for name in files]
    rule = " \\\n  ".join([f"{_escaped(str(output))}:", *names])
    write_atomic(Path(path), os.fsencode("\n".join([rule, *(f"{name}:" for name in names)]) + "\n"))


def _files(made: Made) -> Iterator[str]:
    for row in made.inputs:
        name = as_typed(row["path"])
        if os.path.isdir(name):  # Make knows files; a folder's date says nothing of what is in them
            found = {file for mask in MODEL_FILES for file in Path(name).glob(mask)}
            yield from sorted(str(file) for file in found)
        elif name != "-" and os.path.isfile(name):
            yield name
    for setting in made.settings:
        if os.path.isfile(setting["source"]):
            yield setting["source"]


def _escaped(name: str) -> str:
    if "\n" in name or "\\" in name:  # what Make makes of a backslash depends on what stands after it
        raise SeaError(f"{name!r} cannot stand in a Makefile", fix="rename it, or leave out --depfile")
    for sign in (" ", "#", ":", "%"):
        name = name.replace(sign, f"\\{sign}")
    return name.replace("$", "$$")
