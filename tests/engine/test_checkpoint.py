"""Checkpoints: a resumed run is the same to the bit, and damage is noticed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from seatools.engine.checkpoint import latest_checkpoint, load_checkpoint, take_snapshot, write_snapshot
from seatools.engine.loss import summed_loss
from seatools.engine.optimise import MasterAdamW, clip_grad_norm
from seatools.engine.rows import make_batch
from seatools.engine.selected import select
from seatools.streams.errors import SeaError


def train(model: Any, optimizer: MasterAdamW, steps: range) -> None:
    for step in steps:
        ids = torch.randint(3, 97, (12,), generator=torch.Generator().manual_seed(step)).tolist()
        loss, num_targets = summed_loss(model, make_batch([[(ids[:5], [1] * 5), (ids[5:], [1] * 7)]]))
        (loss / num_targets).backward()
        clip_grad_norm(optimizer, 1.0)
        optimizer.step(1e-3)
        optimizer.zero_grad()


def save_checkpoint(folder: Path, *, model: Any, optimizer: MasterAdamW, state: dict[str, Any]) -> None:
    write_snapshot(folder, take_snapshot(model, optimizer, state))


def everything(model: Any) -> MasterAdamW:
    return MasterAdamW(list(model.named_parameters()))


def one_selection(model: Any) -> MasterAdamW:
    name = "model.layers.0.mlp.down_proj.weight"
    return MasterAdamW(select(model.requires_grad_(False), [(name, 1, torch.tensor([0, 5]))]))


@pytest.mark.parametrize("optimise", [everything, one_selection])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_resumed_run_ends_with_the_same_bits(
    tiny_model: Callable[..., Any], tmp_path: Path, dtype: torch.dtype, optimise: Callable[[Any], MasterAdamW]
) -> None:
    def fresh(seed: int) -> tuple[Any, MasterAdamW]:
        model = tiny_model("llama", seed=seed, tie_word_embeddings=True).to(dtype)
        return model, optimise(model)

    straight, optimizer = fresh(0)
    train(straight, optimizer, range(6))
    first, optimizer = fresh(0)
    train(first, optimizer, range(3))
    save_checkpoint(tmp_path / "step-3", model=first, optimizer=optimizer, state={"step": 3, "tokens": 36})
    second, optimizer = fresh(1)
    state = load_checkpoint(tmp_path / "step-3", model=second, optimizer=optimizer)
    assert state == {"step": 3, "tokens": 36}
    train(second, optimizer, range(state["step"], 6))
    for name, value in straight.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


@pytest.fixture
def saved(tiny_model: Callable[..., Any], tmp_path: Path) -> Path:
    model = tiny_model("llama")
    for step in (2, 10):
        folder = tmp_path / "checkpoints" / f"step-{step}"
        save_checkpoint(folder, model=model, optimizer=everything(model), state={"step": step})
    return tmp_path


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def change(folder: Path, key: str, value: Any) -> None:
    document = json.loads((folder / "state.json").read_bytes())
    (folder / "state.json").write_text(json.dumps(document | {key: value}))


def test_who_may_read_the_state_may_read_the_weights(saved: Path) -> None:
    assert len({path.stat().st_mode for path in (saved / "checkpoints/step-2").iterdir()}) == 1


def test_the_latest_checkpoint_has_the_highest_step(saved: Path) -> None:
    assert latest_checkpoint(saved) == saved / "checkpoints" / "step-10"


def test_there_is_no_checkpoint_where_there_is_none(tmp_path: Path) -> None:
    assert latest_checkpoint(tmp_path) is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: cut(folder / "model.safetensors"),
        lambda folder: (folder / "optimizer.safetensors").unlink(),
        lambda folder: (folder / "state.json").unlink(),
        lambda folder: (folder / "state.json").write_text("{"),
        lambda folder: (folder / "state.json").write_text("{}"),
        lambda folder: (folder / "state.json").write_text("[" * 2000),
        lambda folder: change(folder, "state", {}),
        lambda folder: change(folder, "state", {"step": -10}),
        lambda folder: change(folder, "files", None),
        lambda folder: change(folder, "files", {"../step-2/state.json": (folder / "state.json").stat().st_size}),
        lambda folder: change(folder, "files", {"x" * 300: 1}),
        lambda folder: folder.rename(folder.with_name("step-10.tmp-1")),
    ],
)
def test_incomplete_checkpoints_are_passed_over_and_cannot_be_loaded(
    tiny_model: Callable[..., Any], saved: Path, damage: Callable[[Path], Any]
) -> None:
    folder = saved / "checkpoints" / "step-10"
    damage(folder)
    assert latest_checkpoint(saved) == saved / "checkpoints" / "step-2"
    with pytest.raises(SeaError):
        load_checkpoint(folder, model=tiny_model("llama"))


@pytest.mark.parametrize(
    ("family", "changes", "dtype"),
    [
        ("qwen2", {}, torch.float32),
        ("llama", {"vocab_size": 98}, torch.float32),
        ("llama", {"num_hidden_layers": 2}, torch.float32),
        ("llama", {}, torch.bfloat16),
    ],
)
def test_the_checkpoint_of_another_model_is_refused_and_changes_nothing(
    tiny_model: Callable[..., Any], saved: Path, family: str, changes: dict[str, int], dtype: torch.dtype
) -> None:
    model = tiny_model(family, seed=3, **changes).to(dtype)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(SeaError):
        load_checkpoint(saved / "checkpoints" / "step-10", model=model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_checkpoint_of_other_trained_tensors_is_refused_and_changes_nothing(
    tiny_model: Callable[..., Any], saved: Path
) -> None:
    model = tiny_model("llama", seed=3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(SeaError, match="another set of trained tensors"):
        load_checkpoint(saved / "checkpoints" / "step-10", model=model, optimizer=one_selection(model))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_save_that_fails_leaves_the_old_checkpoint_and_no_remains(
    tiny_model: Callable[..., Any], saved: Path
) -> None:
    model, folder = tiny_model("llama", seed=3), saved / "checkpoints" / "step-10"
    with pytest.raises(ValueError):  # NaN is not JSON: it fails after the tensors are written
        save_checkpoint(folder, model=model, optimizer=everything(model), state={"step": 10, "loss": float("nan")})
    assert sorted(path.name for path in folder.parent.iterdir()) == ["step-10", "step-2"]
    assert load_checkpoint(folder, model=model) == {"step": 10}


def test_saving_again_replaces_and_clears_what_a_crash_left(tiny_model: Callable[..., Any], saved: Path) -> None:
    model, folder = tiny_model("llama"), saved / "checkpoints" / "step-10"
    (folder.with_name("step-10.tmp-1")).mkdir()
    save_checkpoint(folder, model=model, optimizer=everything(model), state={"step": 10, "again": True})
    assert sorted(path.name for path in folder.parent.iterdir()) == ["step-10", "step-2"]
    assert load_checkpoint(folder, model=model) == {"step": 10, "again": True}


def test_no_pickle_and_the_state_is_plain_json(saved: Path) -> None:
    folder = saved / "checkpoints" / "step-2"
    assert sorted(path.name for path in folder.iterdir()) == [
        "model.safetensors",
        "optimizer.safetensors",
        "state.json",
    ]
    assert json.loads((folder / "state.json").read_text())["state"] == {"step": 2}
