"""Every bad input is a clear error, and leaves nothing behind."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_folders import byte_level, llama

Sea = Callable[..., Any]
MERGES = [(b"a", b"b"), (b"c", b"d")]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return llama(byte_level(tmp_path / "base", MERGES[:1]), 259, shard="20KB")


@pytest.fixture
def new(tmp_path: Path) -> Path:
    return byte_level(tmp_path / "new", MERGES)


@pytest.fixture
def fails(tmp_path: Path, sea: Sea, base: Path, new: Path) -> Callable[..., str]:
    """Run on `base` and `new` with the given flags; returns stderr after checking that nothing was written."""

    def run(*flags: object, code: int = 1, out: Path = tmp_path / "out") -> str:
        before = sorted(tmp_path.iterdir())
        result = sea("embed-init", base, "--tokenizer", new, "-o", out, *flags)
        assert result.code == code, result.stderr
        assert "Traceback" not in result.stderr and len(result.stderr.splitlines()) <= 3
        assert sorted(tmp_path.iterdir()) == before
        return result.stderr

    return run


def _shard_of(base: Path, tensor: str) -> Path:
    return base / json.loads((base / "model.safetensors.index.json").read_text())["weight_map"][tensor]


def _edit(path: Path, **values: Any) -> None:
    body = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in (body | values).items() if value is not ...}))


def test_missing_shard(base: Path, fails: Callable[..., str]) -> None:
    shard = _shard_of(base, "model.norm.weight")
    shard.unlink()
    assert f"{shard} is missing" in fails()


def test_truncated_shard(base: Path, fails: Callable[..., str]) -> None:
    shard = _shard_of(base, "model.norm.weight")
    shard.write_bytes(shard.read_bytes()[:-1])
    assert str(shard) in fails("--dry-run") and "header promises" in fails()


def test_shard_with_a_hole(base: Path, fails: Callable[..., str]) -> None:
    shard = _shard_of(base, "model.norm.weight")
    entry = {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}
    header = json.dumps({"model.norm.weight": entry}).encode()
    shard.write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    assert "does not begin where" in fails()


def test_index_that_names_a_tensor_no_shard_holds(base: Path, fails: Callable[..., str]) -> None:
    index = json.loads((base / "model.safetensors.index.json").read_text())
    index["weight_map"]["model.more.weight"] = index["weight_map"]["model.norm.weight"]
    (base / "model.safetensors.index.json").write_text(json.dumps(index))
    assert 'does not hold "model.more.weight"' in fails()


def test_index_that_points_out_of_the_folder(base: Path, fails: Callable[..., str]) -> None:
    _edit(base / "model.safetensors.index.json", weight_map={"model.embed_tokens.weight": "../x.safetensors"})
    assert "not a file of this folder" in fails()


def test_pickles_only(base: Path, fails: Callable[..., str]) -> None:
    for path in base.glob("model*"):
        path.unlink()
    (base / "pytorch_model.bin").write_bytes(b"x")
    assert "as a pickle only (pytorch_model.bin)" in fails()


def test_no_weights_and_no_config(base: Path, fails: Callable[..., str]) -> None:
    for path in base.glob("model*"):
        path.unlink()
    assert "holds neither model.safetensors nor" in fails()
    (base / "config.json").unlink()
    assert "config.json does not exist" in fails()


def test_embedding_not_found_names_candidates(base: Path, fails: Callable[..., str]) -> None:
    _edit(base / "config.json", vocab_size=1000)
    assert "no embedding of shape [1000, 16] found; candidates: model.embed_tokens.weight [259, 16]" in fails()


def test_two_embeddings(base: Path, fails: Callable[..., str]) -> None:
    shard = _shard_of(base, "model.norm.weight")
    save_file(load_file(shard) | {"mtp.embed_tokens.weight": torch.zeros(259, 16)}, shard)
    assert "2 tensors look like the embedding" in fails()


def test_another_table_with_a_row_for_each_token(base: Path, fails: Callable[..., str]) -> None:
    shard = _shard_of(base, "model.norm.weight")
    save_file(load_file(shard) | {"model.embed_tokens_per_layer.weight": torch.zeros(259, 8)}, shard)
    assert "embed_tokens_per_layer" in fails()


def test_untied_without_head(base: Path, fails: Callable[..., str]) -> None:
    shard = _shard_of(base, "lm_head.weight")
    tensors = load_file(shard)
    tensors["lm_head.qweight"] = tensors.pop("lm_head.weight")
    save_file(tensors, shard)
    index = json.loads((base / "model.safetensors.index.json").read_text())
    index["weight_map"]["lm_head.qweight"] = index["weight_map"].pop("lm_head.weight")
    (base / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "no head tensor is stored" in fails()


def test_quantised_embedding(base: Path, fails: Callable[..., str]) -> None:
    shard = _shard_of(base, "model.embed_tokens.weight")
    tensors = load_file(shard)
    tensors["model.embed_tokens.weight"] = tensors["model.embed_tokens.weight"].to(torch.float8_e4m3fn)
    save_file(tensors, shard)
    assert 'model.embed_tokens.weight" is stored as F8_E4M3' in fails()


def test_rows_of_nan(base: Path, fails: Callable[..., str]) -> None:
    shard = _shard_of(base, "model.embed_tokens.weight")
    tensors = load_file(shard)
    tensors["model.embed_tokens.weight"][2 + ord("c")] = torch.nan
    save_file(tensors, shard)
    assert "would hold NaN or infinity (first: id 259)" in fails()


def test_old_tokenizer_of_another_model(tmp_path: Path, fails: Callable[..., str]) -> None:
    other = byte_level(tmp_path / "other", [*MERGES, (b"e", b"f")])
    assert "ids up to 260, the model has 259 rows" in fails("--old-tokenizer", other)


def test_model_without_tokenizer(base: Path, fails: Callable[..., str]) -> None:
    (base / "tokenizer.json").unlink()
    assert "--old-tokenizer" in fails()


def test_existing_output_is_kept(tmp_path: Path, fails: Callable[..., str]) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").write_text("x")
    assert "--force" in fails(code=2)
    assert (tmp_path / "out/mine").exists()


def test_force_replaces_the_output(tmp_path: Path, sea: Sea, base: Path, new: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").write_text("x")
    assert sea("embed-init", base, "--tokenizer", new, "-o", tmp_path / "out", "--force").code == 0
    assert not (tmp_path / "out/mine").exists()


@pytest.mark.parametrize("place", ["base", "base/out", "new/out"])
def test_output_in_an_input(tmp_path: Path, fails: Callable[..., str], place: str) -> None:
    assert "inside the input" in fails("--force", code=2, out=tmp_path / place)


def test_input_inside_the_output(tmp_path: Path, sea: Sea, base: Path, new: Path) -> None:
    result = sea("embed-init", base, "--tokenizer", new, "-o", tmp_path, "--force")
    assert result.code == 2 and (base / "config.json").exists() and (new / "tokenizer.json").exists()


@pytest.mark.parametrize("flags", [("--method", "focus"), ("--head-method", "x"), ("--pad-to-multiple", 0)])
def test_options_out_of_range(fails: Callable[..., str], flags: tuple[object, ...]) -> None:
    assert str(flags[0]) in fails(*flags, code=2)


def test_tied_head_has_no_method_of_its_own(tmp_path: Path, sea: Sea, new: Path) -> None:
    tied = llama(byte_level(tmp_path / "tied", MERGES[:1]), 259, tied=True)
    result = sea("embed-init", tied, "--tokenizer", new, "-o", tmp_path / "out", "--head-method", "mean")
    assert result.code == 2 and "tied" in result.stderr


def test_bad_new_tokens_file(new: Path, fails: Callable[..., str]) -> None:
    (new / "new_tokens.jsonl").write_text("nonsense\n")
    assert "new_tokens.jsonl:1" in fails()


def test_a_full_disk_leaves_nothing(fails: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("seatools.embed_init.model_folder.rewrite_shard", full)
    assert "No space left on device" in fails()
