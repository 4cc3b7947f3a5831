"""`sea train apply-patch`, `subtract-patch`, `merge-patches` and `show-patch` from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic_checkpoint import read_files
from tiny_llama import files_in, write_model, write_tokenizer

from seatools import cli
from seatools.engine.patch import TrainedSlice, folder_tensors, save_patch, stored_slice
from seatools.streams.digests import folder_digest
from seatools.streams.float_bits import from_float32, to_float32
from seatools.text.tokenizer import load_tokenizer
from seatools.train.patch_command import PATCH_COMMANDS, main

EMBEDDING, UP = "model.embed_tokens.weight", "model.layers.1.mlp.up_proj.weight"
Run = Callable[..., Any]


@pytest.fixture
def patches(sea: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`patches("apply-patch", ...)` through the front door, whatever `sea train` itself does."""
    monkeypatch.setitem(cli.COMMANDS, "train", ("seatools.train.patch_command", ""))
    return lambda *args, **options: sea("train", *args, **options)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bf16 model in several files, with what stands beside one."""
    folder = tmp_path_factory.mktemp("models") / "base"
    write_tokenizer(folder)
    write_model(folder, dtype="bfloat16", tie_word_embeddings=True)
    from transformers import AutoModelForCausalLM

    AutoModelForCausalLM.from_pretrained(folder, dtype="auto").save_pretrained(folder, max_shard_size="20KB")
    (folder / "model.safetensors").unlink()
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    (folder / "new_rows.jsonl").write_text('{"id": 3}\n')
    (folder / "metrics.jsonl").write_text("{}\n")
    (folder / "pytorch_model.bin").write_text("stale")
    (folder / "checkpoints").mkdir()
    assert len(list(folder.glob("model-*.safetensors"))) > 2
    return folder


def write_patch(base: Path, path: Path, rows: dict[str, list[int]], lang: str, seed: int, **about: Any) -> Path:
    random = np.random.default_rng(seed)
    slices = []
    for name, index in rows.items():
        tensor, where = folder_tensors(base)[name], np.array(index)
        old = to_float32(stored_slice(tensor, 0, where), tensor.dtype)
        new = from_float32(old + random.normal(size=old.shape), tensor.dtype)
        slices.append(
            TrainedSlice(names=(name,), shape=tensor.shape, dim=0, index=where, dtype=tensor.dtype, values=new)
        )
    known = dict(base_digest=folder_digest(base), tokenizer_digest=load_tokenizer(base).digest(), trained="new-rows")
    save_patch(path, base, slices, **known | about, languages=[lang])
    return path


@pytest.fixture
def th(base: Path, tmp_path: Path) -> Path:
    return write_patch(base, tmp_path / "th.safetensors", {EMBEDDING: [3, 200], UP: [7]}, "th", 1)


@pytest.fixture
def lo(base: Path, tmp_path: Path) -> Path:
    return write_patch(base, tmp_path / "lo.safetensors", {EMBEDDING: [4, 200]}, "lo", 2)


def test_in_and_out_again(patches: Run, base: Path, th: Path, tmp_path: Path) -> None:
    out, back = tmp_path / "out", tmp_path / "back"
    result = patches("apply-patch", base, th, "-o", out)
    assert result.code == 0 and "warning" not in result.stderr and f"{3 * 32} values in 2 tensors" in result.stderr
    before, after = read_files(base), read_files(out)
    assert [name for name in before if before[name] != after[name]] == sorted([EMBEDDING, UP])
    assert {path.name for path in base.iterdir()} - {path.name for path in out.iterdir()} == {
        "metrics.jsonl", "pytorch_model.bin", "checkpoints",
    }  # fmt: skip
    for name in ("config.json", "chat_template.jinja", "new_rows.jsonl", "tokenizer.json"):
        assert (out / name).read_bytes() == (base / name).read_bytes()
    from transformers import AutoModelForCausalLM

    loaded = AutoModelForCausalLM.from_pretrained(out, dtype="auto")
    assert loaded.model.embed_tokens.weight is loaded.lm_head.weight
    manifest = json.loads((tmp_path / "out.manifest.json").read_bytes())
    assert manifest["command"] == "train apply-patch" and manifest["counts"]["values"] == 96
    assert manifest["inputs"][0]["sha256"] == folder_digest(base)
    listed = {row["path"]: row["sha256"] for row in manifest["outputs"][0]["files"]}
    import hashlib

    assert all(hashlib.sha256((out / name).read_bytes()).hexdigest() == digest for name, digest in listed.items())

    assert patches("subtract-patch", out, th, "-o", back).code == 0
    kept = files_in(out)
    assert files_in(back) == {name: content for name, content in files_in(base).items() if name in kept}
    again = patches("apply-patch", out, th, "-o", tmp_path / "twice")
    assert again.code == 3 and "has the patch in it already" in again.stderr and not (tmp_path / "twice").exists()
    again = patches("subtract-patch", base, th, "-o", tmp_path / "twice")
    assert again.code == 3 and "without the patch" in again.stderr and not (tmp_path / "twice").exists()


def test_merged_is_applied_together(patches: Run, base: Path, th: Path, lo: Path, tmp_path: Path) -> None:
    result = patches("merge-patches", th, lo, "-o", tmp_path / "sea.safetensors")
    assert (
        result.code == 2 and f"both change row 200 of {EMBEDDING}" in result.stderr and "--on-overlap" in result.stderr
    )
    assert not (tmp_path / "sea.safetensors").exists()
    policy = ("--on-overlap", "mean", "--scale", 0.5, "--scale", 1)
    assert patches("merge-patches", th, lo, "-o", tmp_path / "sea.safetensors", *policy).code == 0
    assert patches("apply-patch", base, tmp_path / "sea.safetensors", "-o", tmp_path / "one").code == 0
    assert patches("apply-patch", base, th, lo, "-o", tmp_path / "two", *policy).code == 0
    assert files_in(tmp_path / "one") == files_in(tmp_path / "two") and read_files(tmp_path / "one") != read_files(base)
    other = patches("apply-patch", tmp_path / "one", lo, "-o", tmp_path / "three", "--inexact")
    assert other.code == 0 and "is not the checkpoint that" in other.stderr and "added in fp32" in other.stderr


def test_what_a_patch_holds_is_shown(patches: Run, base: Path, th: Path, lo: Path) -> None:
    result = patches("show-patch", th, lo)
    first, second = map(json.loads, result.stdout.splitlines())
    assert (first["languages"], second["languages"], first["trained"]) == (["th"], ["lo"], "new-rows")
    assert first["base_digest"] == folder_digest(base) and first["values"] == 96
    assert first["tensors"] == [
        {"name": EMBEDDING, "dtype": "BF16", "shape": [259, 32], "what": "rows", "count": 2, "values": 64},
        {"name": UP, "dtype": "BF16", "shape": [48, 32], "what": "rows", "count": 1, "values": 32},
    ]


def test_the_table_for_people(th: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import re
    import sys

    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert main(["show-patch", str(th)]) == 0
    shown = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).split())
    assert "model.layers.*.mlp.up_proj.weight" in shown and "rows" in shown and "th; new-rows" in shown


def test_bad_input_leaves_everything_as_it_was(patches: Run, base: Path, th: Path, lo: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "kept").write_text("x")
    other = write_model(tmp_path / "other", seed=1, dtype="bfloat16", tie_word_embeddings=True)
    small = write_model(tmp_path / "small", dtype="bfloat16", vocab_size=100)
    write_tokenizer(tmp_path / "foreign", special=("<pad>", "</s>", "<s>"))
    foreign = write_model(tmp_path / "foreign", dtype="bfloat16", tie_word_embeddings=True)
    for args, code, says in (
        (("apply-patch", base, th, "-o", out), 2, "exists"),
        (("apply-patch", base, th, "-o", base, "--force"), 2, "input"),
        (("apply-patch", base, th, "-o", base / "sub"), 2, "lies inside the input"),
        (("apply-patch", base, th, th, "-o", out, "--force"), 2, "both change row 3"),
        (("apply-patch", base, base / "config.json", "-o", out, "--force"), 1, "not a safetensors file"),
        (("apply-patch", tmp_path / "none", th, "-o", out, "--force"), 1, "does not exist"),
        (("apply-patch", other, th, "-o", out, "--force"), 3, "does not have the values"),
        (("apply-patch", small, th, "-o", out, "--force"), 1, "[100, 32]"),
        (("apply-patch", foreign, th, "-o", out, "--force"), 1, "has another tokenizer"),
        (("apply-patch", base, th, "-o", out, "--force", "--scale", "nan"), 2, "finite"),
        (("subtract-patch", base, th, "-o", out, "--force"), 3, "without the patch"),
        (("merge-patches", th, lo, "-o", th, "--force", "--on-overlap", "sum"), 2, "both input and output"),
        (("merge-patches", th, lo, "-o", out / "kept"), 2, "exists"),
        (("show-patch", base / "config.json"), 1, "not a safetensors file"),
    ):
        result = patches(*args)
        assert (result.code, says in result.stderr) == (code, True), result.stderr
        assert len(result.stderr.strip().splitlines()) <= 3 and (out / "kept").read_text() == "x"
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []
    result = patches("apply-patch", base, th, "-o", tmp_path / "new", "--dry-run")
    assert result.code == 0 and "would write 2 weight files" in result.stderr and not (tmp_path / "new").exists()
    assert patches("apply-patch", base, th, "-o", out, "--force").code == 0 and not (out / "kept").exists()


def test_the_commands_are_listed_and_helped(capsys: pytest.CaptureFixture[str]) -> None:
    for name in PATCH_COMMANDS:
        assert main([name, "--help"]) == 0
        assert f"sea train {name}" in capsys.readouterr().out
