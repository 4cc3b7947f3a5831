"""A patch in a loaded model: the values of the patched folder while it lasts, the old ones after."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_llama import write_model, write_tokenizer

from seatools.engine.load import load_model
from seatools.engine.patch import Patch, TrainedSlice, load_patch, save_patch
from seatools.engine.patched import Patched
from seatools.streams.errors import SeaError

ROWS, WHOLE = "model.layers.0.mlp.gate_proj.weight", "model.norm.weight"


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def base(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    write_tokenizer(folder)
    return write_model(folder, dtype=request.param)


def make(base: Path, path: Path) -> Patch:
    rows = np.arange(2 * 32, dtype=np.float32).reshape(2, 32) / 8
    slices = [
        TrainedSlice(names=(ROWS,), shape=(48, 32), dim=0, index=np.array([3, 40]), dtype="F32", values=rows),
        TrainedSlice(names=(WHOLE,), shape=(32,), dim=None, index=None, dtype="F32", values=np.full(32, 2, np.float32)),
    ]
    save_patch(path, base, slices, base_digest="b", tokenizer_digest="", trained="x", languages=["th"])
    return load_patch(path)


def test_the_new_values_are_there_for_the_time_of_the_with(base, tmp_path):
    patch = make(base, tmp_path / "p.safetensors")
    model = load_model(base, device="cpu", dtype=torch.float32)
    before = {name: value.clone() for name, value in model.named_parameters()}
    with Patched(model, patch):
        gate, norm = model.get_parameter(ROWS), model.get_parameter(WHOLE)
        assert gate[[3, 40]].flatten().tolist() == (np.arange(64) / 8).tolist()
        kept = [row for row in range(48) if row not in (3, 40)]
        assert torch.equal(gate[kept], before[ROWS][kept])
        assert norm.tolist() == [2.0] * 32
    assert all(torch.equal(value, before[name]) for name, value in model.named_parameters())
    with pytest.raises(RuntimeError, match="inside"), Patched(model, patch):
        raise RuntimeError("inside")
    assert all(torch.equal(value, before[name]) for name, value in model.named_parameters())


def test_another_model_is_refused_with_the_weight_named(base, tmp_path):
    patch = make(base, tmp_path / "p.safetensors")
    model = load_model(base, device="cpu", dtype=torch.float32)
    with torch.no_grad():
        model.get_parameter(ROWS)[3, 0] += 1
    with pytest.raises(SeaError, match="is not what the patch was made from"):
        Patched(model, patch)
    write_tokenizer(tmp_path / "small")
    small = load_model(write_model(tmp_path / "small", intermediate_size=40), device="cpu", dtype=torch.float32)
    with pytest.raises(SeaError, match=r'changes "model.layers.0.mlp.gate_proj.weight" \[48, 32\].*\[40, 32\]'):
        Patched(small, patch)
