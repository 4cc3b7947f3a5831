"""Manifests as a shell script. Words are quoted, and comments hold nothing that could end their line."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from seatools.streams.errors import SeaError
from seatools.streams.provenance import Made, as_typed, manifest_of, printable, read_chain


def script(manifests: Sequence[str], *, comments: bool = True) -> bytes:
    """The commands that made these outputs, parents first. Raises SeaError for a manifest that cannot be read."""
    chain = read_chain(manifests)
    if chain.broken:
        path, why = chain.broken[0]
        raise SeaError(f"the manifest of an input cannot be read: {why}", where=str(path))
    if chain.cycles:
        way = " <- ".join(printable(path) for path in (*chain.cycles[0], chain.cycles[0][0]))
        raise SeaError(f"made from itself: {way}", fix="a file of it was written over; sea verify tells which")
    folders = [made.folders[0] for made in chain.links]
    # A command that wrote several outputs has a manifest beside each: told once.
    lines = ["#!/bin/sh", "set -e"]
    if comments and len(set(folders)) == 1:
        lines.append(f"# in the folder {printable(folders[0])}")
    told: set[tuple[Any, ...]] = set()
    for made, folder in zip(chain.links, folders, strict=True):
        key = (folder, *made.argv, *(str(row) for row in (*made.inputs, *made.outputs)))
        if key in told:
            continue
        told.add(key)
        if comments:
            lines += ["", *(f"# {printable(text)}" for text in _comments(made))]
        if len(set(folders)) > 1:
            lines.append(f"cd {shlex.quote(str(folder))}")
        lines.append(shlex.join(["sea", *_words(made)]))
    return os.fsencode("\n".join(lines) + "\n")


def _comments(made: Made) -> Iterator[str]:
    yield f"{made.body.get('tool', 'sea')}: {made.made.name}"
    for row in made.inputs:
        digest = f"sha256 {str(row.get('sha256'))[:16]}" if row.get("sha256") else "no digest"
        if row["path"] == "-":
            yield f"reads stdin, which is not kept ({digest}): a pipe, or < FILE"
        elif manifest_of(made.place(row["path"])) is None:
            size = f"{row['bytes']:,} bytes, " if row.get("bytes") is not None else ""
            yield f"from {row['path']} ({size}{digest})"
    for setting in made.settings:
        yield f"{setting['option']} came from {setting['source']}"


def _words(made: Made) -> list[str]:
    """The words after `sea`: command, options that configuration gave, what was typed, arguments of configuration."""
    argv = made.argv
    depth = min(len(str(made.body["command"]).split()), len(argv))
    given = [[as_typed(word) for word in setting["words"]] for setting in made.settings]
    options = [word for words in given if words and words[0].startswith("-") for word in words]
    arguments = [word for words in given if words and not words[0].startswith("-") for word in words]
    return [*argv[:depth], *options, *argv[depth:], *arguments]
