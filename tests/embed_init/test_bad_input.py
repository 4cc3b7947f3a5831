"""Every bad input is a clear error, and leaves nothing behind."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_folders import byte_level, llama

from seatools.embed_init.checkpoint import read_checkpoint
from seatools.streams import weight_files
from seatools.streams.errors import SeaError
from seatools.streams.shard_rewrite import file_blocks

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


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a safetensors file, or cut off inside its header"),
        (b"\x10\0\0", "not a safetensors file, or cut off inside its header"),
        (b"\xff" * 64, "not a safetensors file, or cut off inside its header"),
        (b"\x08\0\0\0\0\0\0\0" + b"\xff" * 8, "its header is not JSON"),
        (b"\x02\0\0\0\0\0\0\0[]", "its header is not an object"),
        ({"w": 7}, 'tensor "w" has no valid entry'),
        ({"w": {"dtype": "F32", "shape": [1]}}, 'tensor "w" has no valid entry'),
        ({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0]}}, 'tensor "w" has no valid entry'),
        ({"w": {"dtype": "F32", "shape": ["x"], "data_offsets": [0, 4]}}, 'tensor "w" has no valid entry'),
        ({"w": {"dtype": "F32", "shape": [3], "data_offsets": [0, 4]}}, "which its shape does not explain"),
        ({"w": {"dtype": "F32", "shape": [2], "data_offsets": [-4, 4]}}, "does not begin where"),
        ({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 8]}}, "bytes where its header promises"),
        ({"__metadata__": {"n": 1}}, "is not text by name"),
        ({"v": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]},
          "w": {"dtype": "U8", "shape": [3], "data_offsets": [1, 4]}}, "does not begin where"),
    ],
)  # fmt: skip
def test_corrupt_header(base: Path, fails: Callable[..., str], content: Any, message: str) -> None:
    shard = _shard_of(base, "model.norm.weight")
    if isinstance(content, dict):
        header = json.dumps(content).encode()
        content = len(header).to_bytes(8, "little") + header + bytes(4)
    shard.write_bytes(content)
    for flags in ((), ("--dry-run",)):
        stderr = fails(*flags)
        assert message in stderr and str(shard) in stderr


def test_header_bytes_changed_at_random(base: Path, fails: Callable[..., str]) -> None:
    """Whatever is read, it ends in a message or in a folder with the right bytes (a changed name of a layer, say)."""
    shard = _shard_of(base, "model.norm.weight")
    whole = shard.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(60):
        broken = bytearray(whole)
        broken[random.integers(0, 8 + length)] ^= 1 << random.integers(0, 8)
        shard.write_bytes(broken)
        try:
            read_checkpoint(base)
        except SeaError as error:
            assert len(error.report().splitlines()) <= 3
            refused += 1
    assert refused > 40
    shard.write_bytes(whole[: 8 + length // 2])
    assert str(shard) in fails()


def test_shard_with_a_hole(base: Path, fails: Callable[..., str]) -> None:
    shard = _shard_of(base, "model.norm.weight")
    entry = {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}
    header = json.dumps({"model.norm.weight": entry}).encode()
    shard.write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    assert "does not begin where" in fails()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"weight_map": []}', '{"weight_map": {}}', '{"weight_map": {"a"'])
def test_index_that_is_none(base: Path, fails: Callable[..., str], content: str) -> None:
    (base / "model.safetensors.index.json").write_text(content)
    assert "model.safetensors.index.json" in fails()


@pytest.mark.parametrize("file", ["config.json", "generation_config.json"])
@pytest.mark.parametrize("content", [b"", b"[]", b'{"a":', b"\xff\xfe"])
def test_configs_that_are_none(base: Path, fails: Callable[..., str], file: str, content: bytes) -> None:
    (base / file).write_bytes(content)
    assert f"{file} is not" in fails()


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
    assert '"lm_head.qweight" says that "lm_head.weight" is quantised' in fails()
    tensors["lm_other.weight"] = tensors.pop("lm_head.qweight")
    save_file(tensors, shard)
    index["weight_map"]["lm_other.weight"] = index["weight_map"].pop("lm_head.qweight")
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


def test_tokenizer_smaller_than_the_rows_in_use(tmp_path: Path, sea: Sea, new: Path) -> None:
    many = [(bytes([left]), bytes([right])) for left in range(65, 80) for right in range(65, 85)]
    base = llama(byte_level(tmp_path / "large", many), 558)
    small = byte_level(tmp_path / "small", MERGES[:1])
    result = sea("embed-init", base, "--old-tokenizer", small, "--tokenizer", new, "-o", tmp_path / "out")
    assert result.code == 1 and "259 ids, the model 558 rows: more than padding explains" in result.stderr
    result = sea("embed-init", base, "--tokenizer", small, "-o", tmp_path / "out")
    assert result.code == 1 and "it is no extension of its tokenizer" in result.stderr
    assert not (tmp_path / "out").exists()


def test_old_tokenizer_of_the_same_size_whose_special_tokens_are_others(
    tmp_path: Path, base: Path, fails: Callable[..., str]
) -> None:
    """The rows would be nonsense, and sizes cannot tell."""
    other = byte_level(tmp_path / "other", [*MERGES, (b"e", b"f")], first=[])
    stderr = fails("--old-tokenizer", other)
    assert f"{other} is not the tokenizer of this model: by config.json bos is 0 ('\u0100' there), eos is 1" in stderr
    moved = byte_level(tmp_path / "moved", [], first=["[A]", "<s>", "</s>"])
    assert "is not the tokenizer of this model: by config.json bos is 0 ('[A]'" in fails("--old-tokenizer", moved)


def test_a_chat_model_that_ends_with_another_token_is_accepted(tmp_path: Path, sea: Sea, new: Path) -> None:
    base = llama(byte_level(tmp_path / "chat", MERGES[:1]), 259, eos_token_id=258)
    assert sea("embed-init", base, "--tokenizer", new, "-o", tmp_path / "out").code == 0


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


@pytest.mark.parametrize("flags", [("--method", "y"), ("--head-method", "x"), ("--pad-to-multiple", 0)])
def test_options_out_of_range(fails: Callable[..., str], flags: tuple[object, ...]) -> None:
    assert str(flags[0]) in fails(*flags, code=2)


def test_tied_head_has_no_method_of_its_own(tmp_path: Path, sea: Sea, new: Path) -> None:
    tied = llama(byte_level(tmp_path / "tied", MERGES[:1]), 259, tied=True)
    result = sea("embed-init", tied, "--tokenizer", new, "-o", tmp_path / "out", "--head-method", "mean")
    assert result.code == 2 and "tied" in result.stderr


def test_bad_new_tokens_file(new: Path, fails: Callable[..., str]) -> None:
    (new / "new_tokens.jsonl").write_text("nonsense\n")
    assert "new_tokens.jsonl:1" in fails()


@pytest.mark.parametrize("flags", [(), ("--link",)])
@pytest.mark.parametrize("limit", [0, 1_000, 10_000, 100_000])
def test_a_full_disk_leaves_nothing(
    tmp_path: Path, sea: Sea, base: Path, new: Path, flags: tuple[str, ...], limit: int
) -> None:
    """The system refuses to write beyond `limit` bytes of any file; the largest have about 17 kB."""
    resource = pytest.importorskip("resource")
    kept = tmp_path / "out"
    kept.mkdir()
    (kept / "mine").write_text("x")
    before = sorted(tmp_path.rglob("*"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        result = sea("embed-init", base, "--tokenizer", new, "-o", kept, "--force", *flags)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    if limit == 100_000:
        assert result.code == 0
        return
    assert result.code == 1 and "File too large" in result.stderr and "defect" not in result.stderr
    assert len(result.stderr.splitlines()) <= 3 and ".tmp" not in result.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_a_disk_that_is_too_small_is_told_at_once(
    tmp_path: Path, sea: Sea, fails: Callable[..., str], new: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = sum(path.stat().st_size for path in base.glob("*.safetensors")) - 2000  # less than the tensors in them
    monkeypatch.setattr("shutil.disk_usage", lambda _: shutil._ntuple_diskusage(10**12, 10**12, weights))
    stderr = fails()
    assert f"bytes, and {weights:,} are free on its disk" in stderr and "--link what does not change" in stderr
    assert sea("embed-init", base, "--tokenizer", new, "-o", tmp_path / "out", "--link").code == 0


@pytest.mark.parametrize("call", ["open", "link", "mkdir"])
def test_no_space_for_a_file_of_its_own(
    tmp_path: Path, fails: Callable[..., str], monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if call == "link":
        monkeypatch.setattr("os.link", full)
        assert "cannot be hard-linked: No space left on device" in fails("--link")
        return
    real = getattr(Path, call)

    def filling(path: Path, *more: Any, **named: Any) -> Any:
        return full() if ".tmp" in str(path) else real(path, *more, **named)

    monkeypatch.setattr(Path, call, filling)
    assert "No space left on device" in fails()


def test_a_link_to_another_disk(fails: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    def other_disk(*_: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr("os.link", other_disk)
    stderr = fails("--link")
    assert "cannot be hard-linked: Invalid cross-device link" in stderr and "leave out --link" in stderr


def test_a_shard_that_shrinks_while_it_is_copied(base: Path, fails: Callable[..., str], monkeypatch: Any) -> None:
    """The other files' threads stop too, and nothing stays."""
    last = sorted(base.glob("*.safetensors"))[-1]
    monkeypatch.setattr(
        weight_files, "file_blocks", lambda path, start, size: file_blocks(path, start, size + (path == last))
    )
    assert "became shorter while it was read" in fails()
