"""`sea train MODEL FOLDER`: the packed parts of a mix are one data set."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_llama import read_metrics, write_jsonl

from seatools.text.packed_shards import shard_paths

SHORT = ("--batch-size", 2, "--max-steps", 4, "--lr", "1e-3", "-q")


@pytest.fixture
def mixed(sea: Callable[..., Any], model_path: Path, tmp_path: Path) -> Path:
    """The folder with one.safetensors and, in parts/, the same rows in several files."""
    data = write_jsonl(tmp_path / "data.jsonl", [{"text": f"{i} text {'and more ' * (i % 7)}"} for i in range(40)])
    mix = ("mix", f"d={data}", "--tokenizer", model_path, "--pack", 32, "--pack-window", 5, "-q")
    for more in (["-o", tmp_path / "one.safetensors"], ["-o", tmp_path / "parts", "--shard-size", "1500"]):
        result = sea(*mix, *more)
        assert result.code == 0, result.stderr
    assert len(shard_paths(tmp_path / "parts")) > 2
    return tmp_path


def test_a_folder_of_parts_trains_as_the_single_file(sea: Callable[..., Any], model_path: Path, mixed: Path) -> None:
    datas = {"one": ["one.safetensors"], "folder": ["parts"], "files": shard_paths(mixed / "parts")}
    for name, paths in datas.items():
        result = sea("train", model_path, *(mixed / path for path in paths), "-o", mixed / name, *SHORT)
        assert result.code == 0, result.stderr
        assert read_metrics(mixed / name) == read_metrics(mixed / "one")
        assert (mixed / name / "model.safetensors").read_bytes() == (mixed / "one" / "model.safetensors").read_bytes()
    manifest = json.loads((mixed / "folder.manifest.json").read_bytes())
    paths = [row["path"] for row in manifest["inputs"]]
    assert paths[: len(datas["files"])] == datas["files"]
    dry = sea("train", model_path, mixed / "parts", "-o", mixed / "x", "--dry-run")
    whole = sea("train", model_path, mixed / "one.safetensors", "-o", mixed / "x", "--dry-run")
    (said,) = [line for line in whole.stderr.splitlines() if line.startswith("data: ")]
    assert dry.code == 0 and said in dry.stderr


def test_what_is_not_one_mix_is_refused(sea: Callable[..., Any], model_path: Path, mixed: Path) -> None:
    parts = shard_paths(mixed / "parts")
    (mixed / "parts" / "notes.txt").write_text("a\n")
    both = sea("train", model_path, mixed / "parts", "-o", mixed / "x", *SHORT)
    assert both.code == 2 and "holds packed parts and notes.txt" in both.stderr
    (mixed / "parts" / "notes.txt").unlink()
    mixture = sea("train", model_path, parts[0], mixed / "data.jsonl", "-o", mixed / "x", *SHORT)
    assert mixture.code == 2 and "cannot be joined with other data" in mixture.stderr
    mix = ("mix", f"other={mixed / 'data.jsonl'}", "--tokenizer", model_path, "--pack", 32, "-q")
    assert sea(*mix, "-o", mixed / "other.safetensors").code == 0
    other = sea("train", model_path, parts[0], mixed / "other.safetensors", "-o", mixed / "x", *SHORT)
    assert other.code == 1 and parts[0] in other.stderr and "other.safetensors" in other.stderr
    shutil.move(parts[1], mixed / "elsewhere")
    missing = sea("train", model_path, mixed / "parts", "-o", mixed / "x", *SHORT)
    assert missing.code == 1 and "part-00001.safetensors is missing" in missing.stderr
    assert not (mixed / "x").exists()
