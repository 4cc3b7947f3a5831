"""`OUT.manifest.json` says how an output was made, and repeats but for the clock and the host."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seatools import __version__
from seatools.streams.manifest import Manifest, manifest_path


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["/usr/bin/sea", "mix", "in.jsonl", "-o", "out"])
    return tmp_path


class Method(StrEnum):
    donor = "donor"


@dataclass(frozen=True)
class Options:
    folder: Path
    weights: dict[str, float]
    names: tuple[str, ...] = ("a",)
    keep: frozenset[str] = frozenset({"z", "b"})
    method: Method = Method.donor
    limit: int | None = None


def stored(path: str) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(Path(path).read_bytes())
    return body


def make(output: str = "out") -> dict[str, Any]:
    Path("in.jsonl").write_bytes(b"in")
    Path(output).write_bytes(b"out")
    manifest = Manifest("mix", Options(Path("d/e"), {"th": 0.5}), seed=7)
    manifest.add_input("in.jsonl", lang="th")
    manifest.add_input("-", digest="ab" * 32)
    manifest.counts["documents"] = np.int64(3)
    manifest.rejects = Counter({"no text": 1, "broken json": 2})
    manifest.write(output)
    return stored(f"{output}.manifest.json")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_everything_that_made_the_output_is_in_it() -> None:
    body = make()
    run = body.pop("run")
    assert list(body["rejects"]) == ["broken json", "no text"]
    assert body == {
        "schema": 2,
        "tool": f"sea {__version__}",
        "command": "mix",
        "argv": ["mix", "in.jsonl", "-o", "out"],
        "settings": [],
        "options": {
            "folder": "d/e",
            "weights": {"th": 0.5},
            "names": ["a"],
            "keep": ["b", "z"],
            "method": "donor",
            "limit": None,
        },
        "seed": 7,
        "inputs": [
            {"path": "in.jsonl", "bytes": 2, "sha256": sha256(b"in"), "lang": "th"},
            {"path": "-", "sha256": "ab" * 32},
        ],
        "outputs": [{"path": "out", "bytes": 3, "sha256": sha256(b"out")}],
        "counts": {"documents": 3},
        "rejects": {"broken json": 2, "no text": 1},
    }
    assert set(run) == {"started", "finished", "folder", "host", "python", "platform"}


def test_all_but_run_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_run() -> bytes:
        body = make()
        assert body.pop("run")["host"]
        return json.dumps(body).encode()

    first = without_run()
    monkeypatch.setattr("time.time", lambda: 0.0)
    assert without_run() == first


def test_a_folder_lists_its_files_but_not_the_growing_log() -> None:
    Path("model").mkdir()
    for name in ("config.json", "a.safetensors", "metrics.jsonl", ".hidden"):
        Path("model", name).write_bytes(name.encode())
    manifest = Manifest("train")
    manifest.add_input("model")
    manifest.write("model/")
    body = stored("model.manifest.json")
    assert body["outputs"] == [
        {
            "path": "model",
            "files": [
                {"path": name, "bytes": len(name), "sha256": sha256(name.encode())}
                for name in ("a.safetensors", "config.json")
            ],
        }
    ]
    assert body["inputs"][0]["bytes"] == len("config.json" + "a.safetensors")


def test_every_output_gets_one_and_stdout_none() -> None:
    for name in ("a", "b"):
        Path(name).write_bytes(b"")
    Manifest("mix").write("a", None, "-", "b", os.devnull)
    assert sorted(os.listdir()) == ["a", "a.manifest.json", "b", "b.manifest.json"]
    assert [row["path"] for row in stored("a.manifest.json")["outputs"]] == ["a", "b"]


def test_an_older_manifest_is_replaced() -> None:
    Path("out.manifest.json").write_bytes(b"old")
    assert make()["command"] == "mix"


def test_names_that_are_not_utf8_do_not_lose_the_manifest(monkeypatch: pytest.MonkeyPatch) -> None:
    name = os.fsdecode(b"th\xe9.jsonl")
    Path(name).write_bytes(b"")
    monkeypatch.setattr(sys, "argv", ["sea", name])
    manifest = Manifest("mix", {"source": name})
    manifest.add_input(name)
    manifest.write(name)
    body = stored(f"{name}.manifest.json")
    assert body["argv"] == [body["options"]["source"]] == [body["inputs"][0]["path"]] == ["th\\udce9.jsonl"]


def test_where_it_stands() -> None:
    assert manifest_path("d/out.jsonl.zst") == Path("d/out.jsonl.zst.manifest.json")
    assert manifest_path(Path("d/model/")) == Path("d/model.manifest.json")
    assert manifest_path(".") == Path(f"{Path.cwd()}.manifest.json")
