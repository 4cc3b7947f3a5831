"""Readers of what is around a command: sea.toml, the user's file and SEA_* variables; the metadata of plugins."""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import json
import os
import sys
import tomllib
from functools import lru_cache
from pathlib import Path

from fuzz.contract import check
from fuzz.layouts import files_of, folder_input, write_folder
from fuzz.run_readers import printed, standing_in

from seatools.streams.errors import SeaError

_ENVIRONMENT = ("SEA_SEED", "SEA_QUIET", "SEA_CLEAN_LIMIT", "SEA_CLEAN_DEDUP", "SEA_CLEAN_LIMT", "SEA_WORKERS")


def read_settings(data: bytes, folder: Path) -> None:
    """Options of `sea clean` from where it stands: what --print-config writes, --config reads back the same."""
    (folder / "sea").mkdir()
    files = write_folder(data, folder, ("sea.toml",))
    (folder / "sea" / "config.toml").write_bytes(files_of(data).get("config.toml", b""))
    environ = {"XDG_CONFIG_HOME": str(folder)}
    for line in files_of(data).get("environment", b"").split(b"\n"):
        name, _, value = line.partition(b"=")
        if name.decode("ascii", "replace") in _ENVIRONMENT and b"\0" not in value:
            environ[name.decode()] = os.fsdecode(value)
    found = _resolved(folder, environ, ["--print-config", "--json"])
    options = json.loads(found)["options"]
    project = tomllib.loads((folder / "sea.toml").read_text()) if "sea.toml" in files else {}
    for key, option in options.items():
        if option["source"] == "sea.toml":
            given = {name.replace("_", "-"): value for name, value in project.items()}
            given |= {name.replace("_", "-"): value for name, value in project.get("clean", {}).items()}
            check(key in given, "an option that sea.toml does not have")
            check(_same(option["value"], given[key]), "another value than sea.toml's")
    table = _resolved(folder, environ, ["--print-config"])
    (folder / "c.toml").write_bytes(table)
    for name in ("sea.toml", "sea/config.toml"):
        (folder / name).unlink(missing_ok=True)
    again = json.loads(
        _resolved(folder, {"XDG_CONFIG_HOME": str(folder)}, ["--config", "c.toml", "--print-config", "--json"])
    )["options"]
    for key, option in options.items():
        check(key == "config" or repr(again[key]["value"]) == repr(option["value"]), f"{key} is not read back")


def _same(value: object, given: object) -> bool:
    """Whether an option has the value of a file: a number may be written as text, one value stand for a list of it."""
    several = value if isinstance(value, list) else [] if value is None else [value]
    asked = given if isinstance(given, list) else [given]
    return len(several) == len(asked) and all(
        one == other or str(one) == str(other) or (isinstance(one, bool | int | float) and float(one) == float(other))
        for one, other in zip(several, asked, strict=True)
    )


def _resolved(folder: Path, environ: dict[str, str], words: list[str]) -> bytes:
    from seatools.cli import main

    err, before, streams = io.StringIO(), dict(os.environ), sys.stderr
    sys.stderr = err
    try:
        for name in [name for name in os.environ if name.startswith("SEA_")]:
            del os.environ[name]
        os.environ.update(environ)
        codes = []
        with standing_in(folder):
            out = printed(lambda: codes.append(main(["clean", "in.jsonl", *words])))
    finally:
        sys.stderr = streams
        os.environ.clear()
        os.environ.update(before)
    check(codes and codes[0] in (0, 1, 2, 3), f"exit code {codes}")
    check("error: unexpected" not in err.getvalue(), err.getvalue())
    if codes[0]:
        check("--config" not in words, f"what was printed is refused: {err.getvalue()}")
        raise SeaError("refused")
    return out


def read_plugins(data: bytes, folder: Path) -> None:
    """`sea plugins` where a distribution's metadata is of anyone: entry points as they stand there."""
    from seatools.plugins import listing
    from seatools.streams.plugins import GROUPS, plugins

    for name in ("a-1.0.dist-info", "b.egg-info"):
        (folder / name).mkdir()
    files = files_of(data)
    for name, body in files.items():
        place = {"A": "a-1.0.dist-info", "B": "b.egg-info"}.get(name[:1])
        if place and name[2:] in ("METADATA", "PKG-INFO", "entry_points.txt"):
            (folder / place / name[2:]).write_bytes(body)
    _warm()
    path = sys.path
    importlib.invalidate_caches()
    sys.path = [str(folder)]
    try:
        rows = [json.loads(line) for line in printed(lambda: listing.show(load=False, json=True)).splitlines()]
        text = printed(lambda: listing.show(load=False, json=False)).decode()
        check(all(line.isprintable() for line in text.split("\n")), "a line that moves the cursor")
        for group in GROUPS:
            with contextlib.suppress(SeaError):
                found = plugins(group)
                check(all(row["name"] in found for row in rows if row["group"] == group), "a plugin is not found")
    finally:
        sys.path = path
        importlib.invalidate_caches()
    said = b"\n".join(body for name, body in files.items() if name.endswith("entry_points.txt")).decode(
        "utf-8", "replace"
    )
    for row in rows:
        check(all(row[key] in said for key in ("group", "name", "value")), "a plugin that no one brings")


@lru_cache
def _warm() -> None:
    """Import what importlib.metadata imports at its first use: it is not found while the path is another."""
    distribution = importlib.metadata.distribution("orjson")
    check(distribution.metadata["Name"] and distribution.entry_points is not None, "no metadata of orjson")


def seeds() -> dict[str, list[bytes]]:
    """Well-formed inputs to begin from, by the reader's name."""
    metadata = b"Metadata-Version: 2.1\nName: a-plugin\nVersion: 1.0\n"
    points = b"[console_scripts]\nx = a:main\n\n[sea.commands]\nhello = a.b:main\n[sea.tasks]\nt = a:TASK [extra]\n"
    others = b"[sea.commands]\nhello=b:main\nmix = b:mix\n[sea.filters]\n# note\nlen = b:length\n"
    both = {"B.PKG-INFO": metadata.replace(b"a-plugin", b"b"), "B.entry_points.txt": others}
    project = b'seed = 3\non-error = "skip"\n[clean]\nlimit = 3\ndedup = "exact"\n[mix]\nunit = "docs"\n'
    own = b"[clean]\nlang_check = true\nscore-quantile = 0.5\nworkers = 4\n"
    user = b'quiet = true\n[clean]\nlang-id = "script"\nforce = true\n'
    variables = b"SEA_CLEAN_LIMIT=7\nSEA_QUIET=1\nSEA_CLEAN_LIMT=3"
    return {
        "settings": [
            folder_input({"sea.toml": project, "environment": variables}),
            folder_input({"config.toml": user, "sea.toml": own}),
            folder_input({"environment": b"SEA_SEED=5\nSEA_WORKERS=2\nSEA_CLEAN_DEDUP=exact"}),
        ],
        "plugins": [
            folder_input({"A.METADATA": metadata, "A.entry_points.txt": points}),
            folder_input({"A.METADATA": metadata, "A.entry_points.txt": points, **both}),
        ],
    }
