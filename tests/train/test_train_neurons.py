"""Training of neurons alone: all other weights stay to the bit."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_families import tiny
from tiny_llama import VOCABULARY, read_weights, write_model, write_tokenizer
from tiny_neurons import places_of, write_neurons

from seatools.engine.load import load_model
from seatools.engine.optimise import clip_grad_norm
from seatools.engine.trainee import load_trainee, make_optimizer
from seatools.engine.world import SINGLE
from seatools.streams.messages import Messages
from seatools.text.packed import read_packed
from seatools.text.token_bytes import token_num_bytes
from seatools.text.tokenizer import load_tokenizer
from seatools.train.options import TrainOptions
from seatools.train.run import rows_with_targets
from seatools.train.step import StepGradients

SHORT = ("--seq-len", 32, "--batch-size", 2, "--max-steps", 3, "--lr", "1e-2", "-q")
CHOSEN = {
    "th": {"model.layers.0.mlp.gate_proj": [1, 5], "model.layers.1.mlp.down_proj": [0, 47]},
    "lo": {"model.layers.1.self_attn.k_proj": [3], "model.layers.0.mlp.gate_proj": [5, 7]},
}


@pytest.fixture(scope="module")
def neurons_path(model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = load_model(model_path, device="cpu", dtype=torch.float32)
    return write_neurons(model, tmp_path_factory.mktemp("neurons") / "neurons.safetensors", CHOSEN)


def mask_of(weights: dict[str, torch.Tensor], *langs: str) -> dict[str, torch.Tensor]:
    """For every weight, True where it is inside the selection of `langs`."""
    masks = {name: torch.zeros(weight.shape, dtype=torch.bool) for name, weight in weights.items()}
    for lang in langs:
        for name, index in CHOSEN[lang].items():
            mask = masks[f"{name}.weight"]
            (mask.T if name.endswith(("down_proj", "o_proj")) else mask)[index] = True
    return masks


@pytest.mark.parametrize("langs", [("th",), ("th", "lo")])
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_weights_outside_the_neurons_stay_to_the_bit_and_those_inside_change(
    sea: Callable[..., Any], model_path: Path, data: Path, tmp_path: Path, neurons_path: Path, langs: Any, dtype: str
) -> None:
    only = () if len(langs) == 2 else ("--neuron-langs", ",".join(langs))
    out = tmp_path / "out"
    assert (
        sea("train", model_path, data, "-o", out, "--neurons", neurons_path, *only, "--dtype", dtype, *SHORT).code == 0
    )
    before, after = read_weights(model_path), read_weights(out)
    for name, inside in mask_of(before, *langs).items():
        old = before[name].to(after[name].dtype)
        assert torch.equal(old[~inside], after[name][~inside]), name
        if inside.any():
            assert (old[inside] != after[name][inside]).float().mean() > 0.9, name


def test_the_gradients_are_those_of_full_training_on_the_selection(
    sea: Callable[..., Any], model_path: Path, data: Path, tmp_path: Path, neurons_path: Path
) -> None:
    assert sea("train", model_path, data, "-o", tmp_path / "out", *SHORT).code == 0
    packed = read_packed(tmp_path / "out" / "packed.safetensors")
    found = {}
    for path in (None, str(neurons_path)):
        what = "all" if path is None else f"neurons={path}"
        options = TrainOptions(seq_len=32, batch_size=2, train=what, dtype="fp32", device="cpu")
        tokenizer, messages = load_tokenizer(model_path), Messages(quiet=True)
        trainee = load_trainee(
            model_path, options, seq_len=options.seq_len, vocab_size=tokenizer.vocab_size, tokenizer_path=model_path,
            world=SINGLE, messages=messages,
        )  # fmt: skip
        model, optimizer = trainee.model, make_optimizer(trainee, options)
        StepGradients(
            trainee.root, optimizer, packed, rows_with_targets(packed), options, tokenizer=tokenizer,
            token_bytes=token_num_bytes(tokenizer), world=SINGLE,
        )(1)  # fmt: skip
        norm = clip_grad_norm(optimizer, None)
        trained = {entry.name for entry in optimizer.entries}
        others = [parameter for name, parameter in model.named_parameters() if name not in trained]
        assert all(parameter.grad is None and not parameter.requires_grad for parameter in others)
        found[path] = {entry.name: entry for entry in optimizer.entries}, norm
    whole, _ = found[None]
    chosen, norm = found[str(neurons_path)]
    assert len(chosen) == 3
    squares = 0.0
    for name, entry in chosen.items():
        expected = whole[name].param.grad.index_select(entry.selection.dim, entry.selection.index)
        assert torch.equal(entry.grad, expected), name  # to the bit
        squares += float(expected.square().sum())
    assert float(norm) == pytest.approx(squares**0.5, rel=1e-5)  # clipping sees nothing else


@pytest.mark.parametrize(("family", "columns"), [("gpt2", "c_proj"), ("phi3", "down_proj|o_proj")])
def test_of_fused_and_transposed_weights_only_the_neurons_change_and_a_plan_counts_them(
    sea: Callable[..., Any], data: Path, tmp_path: Path, family: str, columns: str
) -> None:
    base, out = tmp_path / "model", tmp_path / "out"
    write_tokenizer(base)
    model = tiny(family, vocab_size=VOCABULARY)
    model.save_pretrained(base)
    places = [place for place in places_of(model) if place.layer == 1]
    path = write_neurons(model, tmp_path / "n.safetensors", {"th": {v.name: [1, 3] for p in places for v in p.views}})
    assert sea("train", base, data, "-o", out, "--neurons", path, *SHORT).code == 0
    before, after = read_weights(base), read_weights(out)
    chosen = {view.name for place in places for view in place.views}
    changed = 0
    for name, old in before.items():
        inside = torch.zeros(old.shape, dtype=torch.bool)
        if name.rpartition(".")[0] in chosen:
            is_column = re.search(columns, name) is not None
            if old.ndim == 2:
                inside = inside.index_fill(int(is_column != (family == "gpt2")), torch.tensor([1, 3]), True)
            elif not is_column:
                inside[[1, 3]] = True
        assert torch.equal(old[~inside], after[name][~inside]), name
        if inside.any():
            assert (old[inside] != after[name][inside]).float().mean() > 0.9, name
        changed += int(inside.sum())
    planned = sea("train", base, data, "-o", tmp_path / "o", "--neurons", path, "--dry-run", "--seq-len", 32)
    assert planned.code == 0 and f"trained (neurons={path}): {changed} (" in planned.stderr


@pytest.mark.parametrize("extra", [(), ("--dry-run",)])
def test_neurons_of_fused_experts_are_refused_by_name(
    sea: Callable[..., Any], data: Path, tmp_path: Path, extra: Any
) -> None:
    base, out, name = tmp_path / "model", tmp_path / "out", "model.layers.1.mlp.experts.down_proj"
    write_tokenizer(base)
    model = tiny("mixtral", vocab_size=VOCABULARY)
    model.save_pretrained(base)
    path = write_neurons(model, tmp_path / "n.safetensors", {"th": {name: [0]}})
    result = sea("train", base, data, "-o", out, "--neurons", path, *SHORT[:2], *extra)
    assert result.code == 1 and f"{name} holds the neurons of all experts" in result.stderr


def test_neurons_of_another_architecture_are_refused_with_both_and_replace_nothing(
    sea: Callable[..., Any], data: Path, tmp_path: Path, neurons_path: Path
) -> None:
    wide = tmp_path / "wide"
    write_tokenizer(wide)
    write_model(wide, intermediate_size=64)
    out = tmp_path / "out"
    out.mkdir()
    (out / "config.json").write_text("precious")
    result = sea("train", wide, data, "-o", out, "--force", "--neurons", neurons_path, *SHORT)
    assert result.code == 1
    assert "another architecture" in result.stderr
    assert "48" in result.stderr and "64" in result.stderr
    assert [path.name for path in out.iterdir()] == ["config.json"]


def test_a_language_without_neurons_is_refused_with_those_there_are(
    sea: Callable[..., Any], model_path: Path, data: Path, tmp_path: Path, neurons_path: Path
) -> None:
    result = sea("train", model_path, data, "-o", tmp_path / "o", "--neurons", neurons_path, "--neuron-langs", "km",
                 *SHORT)  # fmt: skip
    assert result.code == 2
    assert "no neurons for km" in result.stderr and "lo, th" in result.stderr


def test_a_run_on_neurons_resumes_with_the_same_bits_and_refuses_other_languages(
    sea: Callable[..., Any], model_path: Path, data: Path, tmp_path: Path, neurons_path: Path
) -> None:
    import shutil

    command = ("train", model_path, data, "--neurons", neurons_path, "--save-every", 2, *SHORT)
    assert sea(*command, "-o", tmp_path / "a").code == 0
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    shutil.rmtree(tmp_path / "b" / "checkpoints" / "step-3")
    (tmp_path / "b" / "model.safetensors").unlink()
    other = sea(*command, "-o", tmp_path / "b", "--resume", "--neuron-langs", "th")
    assert other.code == 2 and "neuron_langs" in other.stderr
    assert sea(*command, "-o", tmp_path / "b", "--resume").code == 0
    assert (tmp_path / "a" / "model.safetensors").read_bytes() == (tmp_path / "b" / "model.safetensors").read_bytes()
