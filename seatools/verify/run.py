"""One run of `sea verify`: each file of the chain is hashed once, and told as soon as it is."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence

from seatools.streams.errors import CheckFailed
from seatools.streams.messages import Messages
from seatools.streams.provenance import (
    Chain,
    Made,
    as_recorded,
    digest_of,
    manifest_of,
    printable,
    read_chain,
    read_manifest,
)
from seatools.streams.records import dump
from seatools.verify.files import Checked, State, check_file, check_folder

Row = tuple[str, str, Checked]
"""Role (input, output, parent, manifest), path as recorded, what was found."""


def run(manifests: Sequence[str], messages: Messages, *, json: bool) -> None:
    """Check, tell, and raise CheckFailed if something does not match."""
    chain = read_chain(manifests)
    counts: Counter[State] = Counter()
    seen: dict[str, str] = {}
    out = sys.stdout.buffer
    for made, rows in _all_rows(chain, seen):
        name = str(made)
        if not json and not messages.quiet:
            out.write(f"{printable(name)}\n".encode())
        for role, path, found in rows:
            counts[found.state] += 1
            if json:
                row = {"manifest": name, "role": role, "path": path, "state": found.state.value, "why": found.why}
                row = {key: as_recorded(text) for key, text in row.items()}
                out.write(dump(row | {"sha256": found.recorded, "found": found.sha256}) + b"\n")
            elif not messages.quiet or found.state in (State.changed, State.missing):
                why = f"  ({printable(found.why)})" if found.why else ""
                out.write(f"  {found.state.value:<8} {role:<8} {printable(path)}{why}\n".encode())
            out.flush()
    told, many = ", ".join(f"{counts[state]} {state.value}" for state in State), len(chain.links)
    messages.info(f"{told}; {many} manifest{'s' if many != 1 else ''}")
    bad = counts[State.changed] + counts[State.missing]
    if bad:
        verb = "does" if bad == 1 else "do"
        fix = "sea replay MANIFEST prints the commands that made the files"
        raise CheckFailed(f"{bad} of {counts.total()} {verb} not match what was recorded", fix=fix)


def _all_rows(chain: Chain, seen: dict[str, str]) -> Iterator[tuple[object, Iterator[Row]]]:
    for made in chain.links:
        yield made.path, _rows(made, seen)
    for path, why in chain.broken:
        yield path, iter([("manifest", str(path), Checked(State.changed, why=why))])
    for cycle in chain.cycles:
        way = " <- ".join(str(path) for path in (*cycle, cycle[0]))
        yield cycle[0], iter([("manifest", str(cycle[0]), Checked(State.changed, why=f"made from itself: {way}"))])


def _rows(made: Made, seen: dict[str, str]) -> Iterator[Row]:
    for row in made.outputs:
        place = made.output_place(row["path"])
        if "files" in row:
            for file in row["files"]:
                name = file["path"]
                # A name, not a path: what lies elsewhere was not made in this folder.
                found = (
                    Checked(State.unknown, why="not a name of a file in the folder")
                    if "/" in name or name in (".", "..")
                    else check_file(place / name, file, seen)
                )
                yield "output", f"{row['path'].rstrip('/')}/{name}", found
        else:
            yield "output", row["path"], check_file(place, row, seen)
    for row in made.inputs:
        if row["path"] == "-":
            yield "input", "-", Checked(State.unknown, row.get("sha256"), why="stdin is not kept")
            continue
        place = made.place(row["path"])
        found = check_folder(place, row, seen) if os.path.isdir(place) else check_file(place, row, seen)
        yield "input", row["path"], found
        if (recorded := row.get("parent")) is not None:
            yield "parent", row["path"], _parent(made, row["path"], recorded)


def _parent(made: Made, path: str, recorded: str) -> Checked:
    """Whether the input's own manifest is the one that was there."""
    file = manifest_of(made.place(path))
    if file is None:
        return Checked(State.missing, recorded, why="the input's manifest is gone")
    try:
        found = digest_of(read_manifest(file))
    except Exception as error:
        return Checked(State.changed, recorded, why=str(error))
    same = found == recorded
    return Checked(State.ok if same else State.changed, recorded, found, "" if same else "the input was made anew")
