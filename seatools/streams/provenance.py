"""Manifests read back: what made a file, what that was made from, and so on, parents first.

A manifest names files as they were typed, relative to the folder of that run. Where a chain was moved as a whole, that
folder is found from the manifest's own place (`B/out/x.manifest.json` of an output typed as `out/x`: `B`); then come
the folder that was recorded, the manifest's, and the working one; the first in which the file is counts. Manifests come
from anywhere, so nothing in one is trusted: not its types, and its paths are only looked at.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson

from seatools.streams.errors import SeaError

ENDING = ".manifest.json"
SCHEMAS = (1, 2)
LARGEST = 256 << 20
"""Bytes of a manifest; one of a mix of 100,000 shards has 30 MB."""


def manifest_path(output: str | Path) -> Path:
    """Beside the output: `OUT` -> `OUT.manifest.json`."""
    name = str(output).rstrip("/")
    if os.path.basename(name) in ("", ".", ".."):  # these have no name to put an ending to
        name = os.path.abspath(name)
    return Path(f"{name}{ENDING}")


@dataclass(frozen=True)
class Made:
    """One manifest: the command line that ran, and the rows of what it read and wrote."""

    path: Path
    body: Mapping[str, Any]

    @property
    def argv(self) -> list[str]:
        """The words after `sea`, as they were typed."""
        return [as_typed(word) for word in self.body["argv"]]

    @property
    def settings(self) -> Sequence[Mapping[str, Any]]:
        """Options that configuration gave: `option`, `source`, and the `words` that say the same."""
        return self.body.get("settings", [])

    @property
    def inputs(self) -> Sequence[Mapping[str, Any]]:
        return self.body["inputs"]

    @property
    def outputs(self) -> Sequence[Mapping[str, Any]]:
        return self.body["outputs"]

    @property
    def made(self) -> Path:
        """The output beside which this manifest lies."""
        return Path(str(self.path)[: -len(ENDING)])

    @cached_property
    def folders(self) -> tuple[Path, ...]:
        """Where relative paths may begin, the likeliest first."""
        recorded = self.body.get("run", {}).get("folder")
        found = [self._moved(), Path(as_typed(recorded)) if recorded else None, self.path.parent, Path()]
        return tuple(dict.fromkeys(folder.absolute() for folder in found if folder is not None))

    def _moved(self) -> Path | None:
        """The run's folder as the manifest's own place tells it."""
        place = self.made.absolute().parts
        for row in self.outputs:
            typed = Path(os.path.normpath(as_typed(row["path"]))).parts
            plain = typed and not os.path.isabs(typed[0]) and ".." not in typed
            if plain and place[-len(typed) :] == typed and len(place) > len(typed):
                return Path(*place[: -len(typed)])
        return None

    def place(self, path: str) -> Path:
        """Where a file is that this manifest names."""
        name = as_typed(path)
        if os.path.isabs(name):
            return Path(name)
        tried = [folder / name for folder in self.folders]
        return next((one for one in tried if os.path.exists(one)), tried[0])

    def output_place(self, path: str) -> Path:
        """As `place`, of an output: the one that is named as the manifest is, is beside it."""
        own = os.path.basename(os.path.normpath(as_typed(path))) == self.made.name or len(self.outputs) == 1
        return self.made if own else self.place(path)


def as_typed(text: str) -> str:
    """Manifests hold bytes that are not UTF-8 as `\\udce9`: back to the name that the file system has."""
    return re.sub(r"\\udc([89a-f][0-9a-f])", lambda match: chr(0xDC00 + int(match[1], 16)), text)


def as_recorded(text: str) -> str:
    """The inverse: a name as manifests hold it, so that JSON takes it."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def read_manifest(path: str | Path) -> Made:
    """The manifest in `path`, or that of the output `path`. Raises SeaError for what is none."""
    file = Path(path)
    if not file.name.endswith(ENDING):
        file = manifest_path(path)
    tidy = Path(os.path.normpath(file))  # without `sub/..`, unless `sub` is a link to elsewhere
    if tidy != file and tidy.exists() and tidy.samefile(file):
        file = tidy
    return Made(file, _checked(_load(file), file))


def _load(file: Path) -> Any:
    fix = "sea writes OUT.manifest.json beside OUT; name one of the two"
    if not file.is_file():
        of = Path(str(file).removesuffix(ENDING))
        above = next((folder for folder in of.absolute().parents if manifest_path(folder).is_file()), None)
        if of.exists() and above is not None:
            fix = f"it is a part of {above}: name that"
        raise SeaError(f"{file}: no such manifest", fix=fix)
    if file.stat().st_size > LARGEST:
        raise SeaError(f"{file}: larger than any manifest", fix=fix)
    try:
        return orjson.loads(file.read_bytes())
    except orjson.JSONDecodeError as error:
        raise SeaError(f"{file}: not JSON: {error}", fix=fix) from error


def _checked(body: Any, file: Path) -> dict[str, Any]:
    def need(good: bool, what: str) -> None:
        if not good:
            raise SeaError(f"{file}: not a manifest: {what}", fix="sea writes OUT.manifest.json beside OUT")

    need(isinstance(body, dict), "no JSON object")
    need(type(body.get("schema")) is int and isinstance(body.get("command"), str), "no schema, or no command")
    if body["schema"] not in SCHEMAS:
        raise SeaError(f"{file}: its schema {body['schema']} is newer than this sea", fix="pip install -U sea-adapt")
    need(_all(body.get("argv"), lambda word: isinstance(word, str)), '"argv" is no list of strings')
    for part in ("inputs", "outputs"):
        need(_all(body.get(part), _is_file_row), f'"{part}" is no list of files')
    need(all("files" not in row or _all(row["files"], _is_file_row) for row in body["outputs"]), '"files" is no list')
    need(_all(body.get("settings", []), _is_setting), '"settings" is no list of settings')
    run = body.get("run", {})
    need(isinstance(run, dict) and isinstance(run.get("folder", ""), str), '"run" is no table')
    return dict(body)


def _all(value: Any, good: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and all(map(good, value))


def _is_file_row(row: Any) -> bool:
    if not isinstance(row, dict) or not isinstance(row.get("path"), str) or "\0" in row["path"] or not row["path"]:
        return False
    kinds = {"bytes": int, "sha256": str, "parent": str, "by_size": list}
    good = all(row.get(key) is None or type(row[key]) is kind for key, kind in kinds.items())
    return good and all(isinstance(name, str) and "\0" not in name for name in row.get("by_size") or ())


def _is_setting(row: Any) -> bool:
    if not isinstance(row, dict) or not isinstance(row.get("option"), str) or not isinstance(row.get("source"), str):
        return False
    return _all(row.get("words"), lambda word: isinstance(word, str))


def manifest_of(place: str | Path) -> Path | None:
    """The manifest of an existing file or folder: beside it, or beside the folder that it was made in."""
    beside = manifest_path(place)
    if os.path.isfile(beside):
        return beside
    folder = Path(os.path.abspath(place)).parent
    around = manifest_path(folder)
    if folder.name and os.path.isfile(around):
        try:
            rows = read_manifest(around).outputs
        except (SeaError, OSError):
            return None
        name = os.path.basename(os.path.abspath(place))
        if any(as_typed(file["path"]) == name for row in rows for file in row.get("files", [])):
            return around
    return None


def digest_of(made: Made) -> str:
    """sha256 of a manifest without `run`, so that it repeats when the run is repeated."""
    body = {key: value for key, value in made.body.items() if key != "run"}
    try:
        return hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()
    except TypeError:  # orjson reads 1,024 levels and writes 254
        raise SeaError(f"{made.path}: nested too deeply for a manifest") from None


def parent_digest(path: str | Path) -> str | None:
    """`digest_of` the manifest of an input; None where the input has none, or one that cannot be read."""
    found = manifest_of(path)
    try:
        return None if found is None else digest_of(read_manifest(found))
    except (SeaError, OSError):
        return None


@dataclass(frozen=True)
class Chain:
    """Manifests, each after those of its inputs; what of them led back to itself, and which could not be read."""

    links: tuple[Made, ...]
    cycles: tuple[tuple[Path, ...], ...]
    broken: tuple[tuple[Path, str], ...]


def read_chain(paths: Sequence[str | Path]) -> Chain:
    """The manifests of `paths` and of all that they were made from. Raises SeaError where one of `paths` is none.

    No recursion, so a chain may be of any length. Memory: the manifests.
    """
    links: list[Made] = []
    cycles: list[tuple[Path, ...]] = []
    broken: list[tuple[Path, str]] = []
    done: set[str] = set()
    for path in paths:
        first = read_manifest(path)
        if _key(first.path) in done:
            continue
        stack: list[tuple[Made, Iterator[Path]]] = [(first, _parents(first))]
        open_keys = {_key(first.path): 0}
        while stack:
            made, parents = stack[-1]
            parent = next(parents, None)
            if parent is None:
                stack.pop()
                del open_keys[_key(made.path)]
                done.add(_key(made.path))
                links.append(made)
                continue
            key = _key(parent)
            if key in open_keys:
                cycles.append(tuple(one.path for one, _ in stack[open_keys[key] :]))
            elif key not in done:
                try:
                    own = read_manifest(parent)
                except (SeaError, OSError) as error:
                    done.add(key)
                    broken.append((parent, str(error)))
                    continue
                open_keys[key] = len(stack)
                stack.append((own, _parents(own)))
    return Chain(tuple(links), tuple(cycles), tuple(broken))


def _key(path: Path) -> str:
    return os.path.realpath(path)


def _parents(made: Made) -> Iterator[Path]:
    for row in made.inputs:
        if row["path"] == "-":
            continue
        found = manifest_of(made.place(row["path"]))
        if found is not None:
            yield found


def printable(text: object) -> str:
    """A name for people: no character of it moves the cursor or ends the line."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in str(text))
