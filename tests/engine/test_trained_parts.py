"""What `--train` chooses in a model, and that nothing else of it moves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from synthetic_checkpoint import read_files
from tiny_families import VOCABULARY, tiny
from tiny_llama import VOCABULARY as TOKENS
from tiny_neurons import write_neurons

from seatools.engine.load import load_model, save_model
from seatools.engine.optimise import MasterAdamW
from seatools.engine.patch import make_patch
from seatools.engine.selected import Selection
from seatools.engine.train_spec import parse_train
from seatools.engine.trained_parts import choose_parts, num_trained, trained_slices
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.messages import Messages
from seatools.train.patched_folder import slice_edits, write_patched

QUIET = Messages(quiet=True)


def parts_of(model: Any, text: str, folder: Path = Path("none"), **options: Any) -> dict[str, Any]:
    given: dict[str, Any] = dict(neuron_langs=(), first_new_row=None, messages=QUIET) | options
    found = choose_parts(model, parse_train(text), model_path=folder, **given)
    order = [name for name, _ in model.named_parameters()]
    assert [name for name, _ in found] == sorted((name for name, _ in found), key=order.index)
    whole = {name for name, part in found if not isinstance(part, Selection)}
    assert {name for name, parameter in model.named_parameters() if parameter.requires_grad} == whole
    return dict(found)


def take_a_step(model: Any, parts: dict[str, Any]) -> None:
    """One update of everything that is trained; every id is in the batch, as input and as target."""
    optimizer = MasterAdamW(list(parts.items()), weight_decay=0.1)
    rows = model.get_input_embeddings().weight.shape[0]
    ids = torch.randint(0, rows, (40, 32), generator=torch.Generator().manual_seed(0))
    model(input_ids=ids, labels=ids).loss.backward()
    optimizer.step(1e-2)


def changes(model: Any, parts: dict[str, Any]) -> dict[str, torch.Tensor]:
    """For every parameter that a step changed, where."""
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    take_a_step(model, parts)
    found = {name: before[name] != parameter for name, parameter in model.named_parameters()}
    return {name: where for name, where in found.items() if where.any()}


def test_all_is_every_parameter_and_layers_are_theirs() -> None:
    model = tiny("qwen2")  # its q, k and v have biases
    names = [name for name, _ in model.named_parameters()]
    assert list(parts_of(model, "all")) == names
    parts = parts_of(model, "layers=0,2")
    assert list(parts) == [name for name in names if ".layers.0." in name or ".layers.2." in name]
    assert parts.keys() == changes(model, parts).keys()
    with pytest.raises(UsageError, match="names layer 3, the model has 0 to 2"):
        parts_of(model, "layers=0-3")


@pytest.mark.parametrize(
    ("family", "tied", "names"),
    [
        ("llama", True, ["model.embed_tokens.weight"]),
        ("llama", False, ["model.embed_tokens.weight", "lm_head.weight"]),
        ("phi", False, ["model.embed_tokens.weight", "lm_head.weight", "lm_head.bias"]),
    ],
)
def test_embeddings_are_both_ends_and_new_rows_their_last(
    family: str, tied: bool, names: list[str], tmp_path: Path
) -> None:
    model = tiny(family, tie_word_embeddings=tied)
    parts = parts_of(model, "embeddings")
    assert list(parts) == names and parts.keys() == changes(model, parts).keys()
    (tmp_path / "new_rows.jsonl").write_text('{"id": 96}\n{"id": 40, "origin": "reinit"}\n')
    (tmp_path / "new_tokens.jsonl").write_text('{"id": 3}\n')  # embed-init's own list goes first
    parts = parts_of(model, "new-rows", tmp_path)
    assert list(parts) == names and all(part.index.tolist() == [40, 96] for part in parts.values())
    for name, where in changes(model, parts).items():
        assert where.reshape(VOCABULARY, -1).any(dim=1).nonzero().flatten().tolist() == [40, 96], name
    (tmp_path / "new_rows.jsonl").unlink()
    assert parts_of(model, "new-rows", tmp_path)[names[0]].index.tolist() == [3]
    parts = parts_of(model, "new-rows", tmp_path, first_new_row=90, vocab_size=95)
    assert parts[names[-1]].index.tolist() == [90, 91, 92, 93, 94]


def test_new_rows_end_with_the_tokenizer(tmp_path: Path) -> None:
    model = tiny(vocab_size=TOKENS + 5)  # padded
    parts = parts_of(model, "new-rows", tmp_path, first_new_row=TOKENS - 2, vocab_size=TOKENS)
    assert parts["lm_head.weight"].index.tolist() == [TOKENS - 2, TOKENS - 1]
    with pytest.raises(UsageError, match=f"ids 0 to {TOKENS - 1}"):
        parts_of(model, "new-rows", tmp_path, first_new_row=TOKENS, vocab_size=TOKENS)
    with pytest.raises(UsageError, match=r"neither new_rows\.jsonl"):
        parts_of(model, "new-rows", tmp_path)
    (tmp_path / "new_tokens.jsonl").write_text('{"id": 9999}\n')
    with pytest.raises(SeaError, match=f"go to 9999, and model.embed_tokens.weight has {TOKENS + 5} rows"):
        parts_of(model, "new-rows", tmp_path)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_key_and_value_neurons_of_a_gqa_model_are_its_own_rows(tmp_path: Path, dtype: torch.dtype) -> None:
    """4 query heads on 2 key heads of 8: row 13 is dim 5 of key head 1. Divided by the query groups (2), or mapped as
    query rows, it would be 6 or 5."""
    model = tiny("qwen2", dtype)
    layer = "model.layers.1"
    chosen = {"k_proj": [13], "v_proj": [2, 15], "q_proj": [31], "o_proj": [30]}
    neurons = {f"{layer}.self_attn.{name}": index for name, index in chosen.items()}
    path = write_neurons(model, tmp_path / "th.safetensors", {"th": neurons | {f"{layer}.mlp.down_proj": [47]}})
    parts = parts_of(model, f"neurons={path}")
    found = changes(model, parts)
    expected = {f"{layer}.self_attn.{name}.weight": index for name, index in chosen.items()}
    expected |= {f"{layer}.self_attn.{name}.bias": chosen[name] for name in ("k_proj", "v_proj", "q_proj")}
    expected[f"{layer}.mlp.down_proj.weight"] = [47]
    # The key's bias adds the same to every score of a query, which the softmax does not see: rounding alone moves it.
    assert parts.keys() == expected.keys() and found.keys() >= expected.keys() - {f"{layer}.self_attn.k_proj.bias"}
    for name, where in found.items():
        columns = "down_proj" in name or "o_proj" in name
        lines = where.any(dim=0) if columns else where.reshape(len(where), -1).any(dim=1)
        assert lines.nonzero().flatten().tolist() == expected[name], name


def test_parts_are_joined_and_the_whole_wins(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tiny()
    up, down = ("model.layers.{}.mlp.up_proj".format, "model.layers.{}.mlp.down_proj".format)
    one = write_neurons(model, tmp_path / "one", {"th": {up(0): [1], up(1): [5, 9]}, "lo": {down(2): [3]}})
    two = write_neurons(model, tmp_path / "two", {"th": {up(1): [2, 9]}, "km": {up(2): [0]}})
    text = f"neurons={one}+neurons={two}+layers=0"
    parts = parts_of(model, text, neuron_langs=("th", "lo"), messages=Messages())
    assert parts[f"{up(1)}.weight"].index.tolist() == [2, 5, 9] and parts[f"{down(2)}.weight"].dim == 1
    assert parts[f"{up(0)}.weight"] is model.get_submodule(up(0)).weight and f"{up(2)}.weight" not in parts
    layer = sum(parameter.numel() for parameter in model.model.layers[0].parameters())
    trained = layer + 3 * 32 + 32
    assert sum(map(num_trained, parts.values())) == trained
    total = sum(parameter.numel() for parameter in model.parameters())
    said = f"{trained:,} of {total:,} parameters ({100 * trained / total:.3g} %)"
    assert said in capsys.readouterr().err
    parts = parts_of(model, f"neurons={two}", neuron_langs=("km",))  # a later stage: the selections before are gone
    assert list(parts) == [f"{up(2)}.weight"] == list(changes(model, parts))
    (tmp_path / "new_rows.jsonl").write_text('{"id": 4}\n')
    parts = parts_of(model, "new-rows+embeddings", tmp_path)
    assert not any(isinstance(part, Selection) for part in parts.values())


def test_where_nothing_is_left_to_train_nothing_is_done(tmp_path: Path) -> None:
    model = tiny()
    empty = write_neurons(model, tmp_path / "empty", {"th": {}, "lo": {"model.layers.0.mlp.up_proj": [0]}})
    with pytest.raises(SeaError, match="of th names nothing that this model has"):
        parts_of(model, f"neurons={empty}", neuron_langs=("th",))
    with pytest.raises(UsageError, match="no neurons for km"):
        parts_of(model, f"neurons={empty}", neuron_langs=("km",))
    with pytest.raises(SeaError, match="another architecture"):
        parts_of(tiny(num_hidden_layers=2), f"neurons={empty}")
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_patch_of_the_parts_makes_the_base_the_trained_checkpoint(
    tmp_path: Path, tied: bool, dtype: torch.dtype
) -> None:
    base, trained, patched = tmp_path / "base", tmp_path / "trained", tmp_path / "patched"
    for folder in (base, trained, patched):
        folder.mkdir()
    save_model(tiny("qwen2", dtype, tie_word_embeddings=tied), base)
    model = load_model(base, device="cpu", dtype=dtype)
    neurons = write_neurons(model, tmp_path / "n", {"th": {"model.layers.1.self_attn.k_proj": [3, 9]}})
    (base / "new_rows.jsonl").write_text('{"id": 95}\n{"id": 96}\n')
    stages = [parts_of(model, text, base) for text in ("new-rows", f"neurons={neurons}+layers=2")]
    take_a_step(model, stages[-1])
    parts_of(model, "new-rows", base)
    take_a_step(model, parts_of(model, "new-rows", base))
    save_model(model, trained)
    slices = trained_slices(model, [part for stage in stages for part in stage.items()])
    patch = make_patch(base, slices, base_digest="b", tokenizer_digest="", trained="x", languages=["th"])
    write_patched(base, patched, slice_edits(base, patch, "in", messages=QUIET), QUIET)
    assert read_files(patched) == read_files(trained) != read_files(base)
    assert patch.parts["model.embed_tokens.weight"].count == 2
    assert patch.parts["model.layers.2.input_layernorm.weight"].dim is None
    assert ("lm_head.weight" in patch.parts) == (not tied)


def test_sharded_weights_are_gathered_for_a_patch() -> None:
    from torch import distributed, nn
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    model = tiny()
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        parts = parts_of(model, "layers=1")
        before = {piece.names: piece.values.copy() for piece in trained_slices(model, parts.items())}
        mesh = init_device_mesh("cpu", (1,))
        for module in model.model.layers[1].modules():
            for name, parameter in list(module.named_parameters(recurse=False)):
                setattr(module, name, nn.Parameter(distribute_tensor(parameter.detach(), mesh, [Shard(0)])))
        after = {piece.names: piece.values for piece in trained_slices(model, parts.items())}
        assert before.keys() == after.keys() and len(after) == len(parts)
        assert all(np.array_equal(before[names], values) for names, values in after.items())
    finally:
        distributed.destroy_process_group()
