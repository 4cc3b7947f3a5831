"""The weight files of OUT: written two at a time, hashed on their way, and told in the manifest."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_folders import byte_level, llama

from seatools.streams import weight_files
from seatools.streams.digests import folder_digest, sha256_file
from seatools.streams.errors import SeaError
from seatools.streams.shard_rewrite import file_blocks
from seatools.streams.weight_files import write_weights

MERGES = [(b"a", b"b"), (b"c", b"d")]


def _run(tmp_path: Path, sea: Callable[..., Any], *flags: str) -> tuple[Path, Path, dict[str, Any]]:
    base = llama(byte_level(tmp_path / "base", MERGES[:1]), 259, shard="10KB")
    new = byte_level(tmp_path / "new", MERGES)
    assert sea("embed-init", base, "--tokenizer", new, "-o", tmp_path / "out", *flags).code == 0
    return base, tmp_path / "out", json.loads((tmp_path / "out.manifest.json").read_text())


def test_the_manifest_has_the_digests_that_the_files_have(tmp_path: Path, sea: Callable[..., Any]) -> None:
    base, out, manifest = _run(tmp_path, sea)
    assert manifest["inputs"][0]["sha256"] == folder_digest(base) and "by_size" not in manifest["inputs"][0]
    rows = {row["path"]: row for row in manifest["outputs"][0]["files"]}
    assert rows.keys() == {path.name for path in out.iterdir()}
    for path in out.iterdir():
        assert rows[path.name]["sha256"] == sha256_file(path) and rows[path.name]["bytes"] == path.stat().st_size


def test_linked_files_are_told_by_their_size(tmp_path: Path, sea: Callable[..., Any]) -> None:
    base, out, manifest = _run(tmp_path, sea, "--link")
    linked = {path.name for path in out.iterdir() if (base / path.name).exists() and path.samefile(base / path.name)}
    assert linked and manifest["inputs"][0]["by_size"] == sorted(linked)
    for row in manifest["outputs"][0]["files"]:
        assert row["sha256"] == (None if row["path"] in linked else sha256_file(out / row["path"]))


@pytest.mark.parametrize("size", [0, 1, (2 << 20) - 1, 2 << 20, (2 << 20) + 1, (7 << 20) + 5])
def test_copies_of_any_size_and_their_digests(tmp_path: Path, size: int) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    out.mkdir()
    content = np.random.default_rng(0).bytes(size)
    for name in ("a", "b", "c"):
        (source / name).write_bytes(content + name.encode())
    digests = write_weights(source, out, {}, ["a", "b", "c"], {}, link=False)
    for name, digest in digests.items():
        assert (out / name).read_bytes() == content + name.encode()
        assert digest.source == digest.made == hashlib.sha256(content + name.encode()).hexdigest()
    assert b"".join(map(bytes, file_blocks(source / "a", 1, size))) == (content + b"a")[1:]


def test_one_failure_stops_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second file fails at once; the first would go on for ever."""
    (tmp_path / "out").mkdir()
    for name in ("endless", "short"):
        (tmp_path / name).write_bytes(b"x")
    running = threading.Event()

    def blocks(path: Path, start: int, num_bytes: int) -> Any:
        if path.name == "short":
            assert running.wait(10)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        while True:
            running.set()
            yield b"x"

    monkeypatch.setattr(weight_files, "file_blocks", blocks)
    with pytest.raises(SeaError, match="short cannot be written: Input/output error"):
        write_weights(tmp_path, tmp_path / "out", {}, ["endless", "short"], {}, link=False)


def test_a_clone_is_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file system shares blocks, both ways of placing a file do; here its call is stood in for by a copy."""

    def cloning(target: int, request: int, source: int) -> int:
        assert request == 0x40049409
        os.write(target, os.pread(source, 100, 0))
        return 0

    monkeypatch.setattr("fcntl.ioctl", cloning)
    (tmp_path / "a").write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    for link in (False, True):
        out = tmp_path / f"out{link}"
        out.mkdir()
        found = write_weights(tmp_path, out, {}, ["a"], {}, link=link)["a"]
        assert (out / "a").read_bytes() == b"weights" and not (out / "a").samefile(tmp_path / "a")
        assert (found.source, found.made) == ((None, None) if link else (digest, digest))
