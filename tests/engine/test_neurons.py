"""Neurons switched off against zeroed weights; neuron files; what of a model they select."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from safetensors.numpy import load_file, save_file
from tiny_families import VOCABULARY, tiny

from seatools.engine.neurons import (
    Deactivated,
    Neurons,
    attention_layers,
    check_architecture,
    ffn_layers,
    load_neurons,
    neuron_metadata,
    save_neurons,
    selections,
    union,
)
from seatools.streams.errors import SeaError, UsageError

FAMILIES = ("llama", "qwen2", "qwen3", "mistral-sliding", "gemma2", "gemma3")  # those that write a gate
FFN, ATTENTION = ("gate_proj", "up_proj", "down_proj"), ("q_proj", "k_proj", "v_proj", "o_proj")


def neurons(*indices: int) -> Neurons:
    return Neurons(np.array(indices, np.int32), np.arange(len(indices), dtype=np.float32) + 0.5)


def weight_name(projection: str, layer: int = 1) -> str:
    return f"model.layers.{layer}.{'mlp' if projection in FFN else 'self_attn'}.{projection}"


def logits(model: Any) -> torch.Tensor:
    ids = torch.arange(3, 27).remainder(VOCABULARY).reshape(2, 12)
    with torch.no_grad():
        return model(input_ids=ids).logits


def zero(model: Any, name: str, indices: list[int]) -> None:
    """Set the parameters of these neurons to zero: the definition of switching off."""
    linear = model.get_submodule(name)
    with torch.no_grad():
        if name.endswith(("down_proj", "o_proj")):
            linear.weight[:, indices] = 0
        else:
            linear.weight[indices] = 0
            if linear.bias is not None:
                linear.bias[indices] = 0


def metadata(model: Any) -> dict[str, str]:
    return neuron_metadata(
        model, method="lape", thresholds={"top": 0.01}, model_digest="ab12", corpora={"th": "c0", "en": "d1"}
    )


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("projection", FFN + ATTENTION)
def test_off_equals_zeroed_weights(family, projection):
    model, zeroed = tiny(family, torch.float64), tiny(family, torch.float64)
    name, indices = weight_name(projection), [0, 3, 11, 15]
    before = logits(model)
    zero(zeroed, name, indices)
    with Deactivated(model, {name: indices}):
        off = logits(model)
    assert torch.allclose(off, logits(zeroed), atol=1e-12, rtol=0)
    assert (off - before).abs().max() > 1e-6


@pytest.mark.parametrize("family", FAMILIES)
def test_all_kinds_off_together_equal_zeroed_weights(family):
    model, zeroed = tiny(family, torch.float64), tiny(family, torch.float64)
    weights = {weight_name(p, layer): [layer, 5 + i, 15] for layer in (0, 1) for i, p in enumerate(FFN + ATTENTION)}
    for name, indices in weights.items():
        zero(zeroed, name, indices)
    with Deactivated(model, weights):
        assert torch.allclose(logits(model), logits(zeroed), atol=1e-12, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_gate_up_and_down_neurons_are_one_switch(family):
    model = tiny(family, torch.float64)
    results = []
    for projection in FFN:
        with Deactivated(model, {weight_name(projection): [2, 40]}):
            results.append(logits(model))
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def test_leaving_restores_bit_equal_logits_also_after_an_exception():
    model = tiny("qwen3")
    before, weights = logits(model), {weight_name(p): [1, 2] for p in FFN + ATTENTION}
    switch = Deactivated(model, weights)
    with switch:
        assert not torch.equal(logits(model), before)
    assert torch.equal(logits(model), before)
    with pytest.raises(ZeroDivisionError), switch:
        _ = 1 / 0
    assert torch.equal(logits(model), before)


def test_nested_switches_add_up_and_leave_one_by_one():
    model = tiny("llama")
    first, second = {weight_name("up_proj"): [1]}, {weight_name("up_proj"): [2]}
    with Deactivated(model, first):
        one = logits(model)
        with Deactivated(model, second):
            both = logits(model)
        assert torch.equal(logits(model), one)
    with Deactivated(model, {weight_name("up_proj"): [1, 2]}):
        assert torch.equal(logits(model), both)


def test_no_weights_switch_nothing_off():
    model = tiny("llama")
    before = logits(model)
    with Deactivated(model, {weight_name("up_proj"): []}):
        assert torch.equal(logits(model), before)


@pytest.mark.parametrize("family", FAMILIES)
def test_layers_are_found_with_their_shapes(family):
    model = tiny(family)
    for index, (ffn, attention) in enumerate(zip(ffn_layers(model), attention_layers(model), strict=True)):
        assert (ffn.index, ffn.name) == (index, f"model.layers.{index}.mlp")
        assert ffn.down is model.get_submodule(f"{ffn.name}.down_proj")
        assert attention.name == f"model.layers.{index}.self_attn"
        assert (attention.num_heads, attention.num_kv_heads) == (4, 2)
        assert attention.head_dim == (16 if family in ("qwen3", "gemma2", "gemma3") else 8)
        assert attention.scaling == pytest.approx(attention.head_dim**-0.5)
        assert (attention.q_norm is not None) == (attention.k_norm is not None) == (family in ("qwen3", "gemma3"))


def test_a_model_with_a_picture_side_gives_its_text_layers():
    text = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    text |= {"num_key_value_heads": 2, "head_dim": 16, "vocab_size": 97}
    sight = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    sight |= {"image_size": 8, "patch_size": 4}
    config = hf.Gemma3Config(text_config=text, vision_config=sight, mm_tokens_per_image=4)
    model = hf.Gemma3ForConditionalGeneration(config)
    assert [layer.name for layer in ffn_layers(model)] == [f"model.language_model.layers.{i}.mlp" for i in (0, 1)]


SMALL = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 32}


def test_fused_layers_are_refused_by_name():
    model = hf.Phi3ForCausalLM(hf.Phi3Config(**SMALL, num_key_value_heads=2, pad_token_id=0))
    with pytest.raises(SeaError, match=r"Phi3MLP \(model.layers.0.mlp\) .* fused gate_up_proj"):
        ffn_layers(model)
    with pytest.raises(SeaError, match=r"Phi3Attention \(model.layers.0.self_attn\) .* fused qkv_proj"):
        attention_layers(model)


def test_mixtures_of_experts_and_other_layouts_are_refused_by_name():
    experts = hf.MixtralForCausalLM(hf.MixtralConfig(**SMALL, num_key_value_heads=2, num_local_experts=2))
    with pytest.raises(SeaError, match=r"Mixtral.* \(model.layers.0"):
        ffn_layers(experts)
    other = hf.GPT2LMHeadModel(hf.GPT2Config(vocab_size=32, n_embd=16, n_layer=1, n_head=2))
    with pytest.raises(SeaError, match="GPT2"):
        ffn_layers(other)


def test_an_activation_that_does_not_map_zero_to_zero_is_refused():
    model = tiny("llama")
    model.model.layers[0].mlp.act_fn = torch.nn.Sigmoid()
    with pytest.raises(SeaError, match="act_fn"):
        ffn_layers(model)


def test_selections_are_rows_columns_and_bias_entries():
    model = tiny("qwen2")  # biases on q, k and v only
    chosen = selections(
        model,
        {
            weight_name("down_proj"): np.array([4, 9], np.int32),
            weight_name("gate_proj"): [7],
            weight_name("k_proj"): [15],  # key head 1, dimension 7 of 8
            weight_name("o_proj"): [],
        },
    )
    assert [(name, dim, index.tolist()) for name, dim, index in chosen] == [
        ("model.layers.1.self_attn.k_proj.weight", 0, [15]),
        ("model.layers.1.self_attn.k_proj.bias", 0, [15]),
        ("model.layers.1.mlp.gate_proj.weight", 0, [7]),
        ("model.layers.1.mlp.down_proj.weight", 1, [4, 9]),
    ]
    for name, dim, index in chosen:
        assert model.get_parameter(name).index_select(dim, index).shape[dim] == len(index)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("projection", FFN + ATTENTION)
def test_only_a_neurons_own_parameters_decide_whether_it_is_off(family, projection):
    """Whatever stands in the selected parameters, a model whose neuron is off gives the same logits."""
    model = tiny(family)
    weights = {weight_name(projection): [3, 15]}
    with Deactivated(model, weights):
        before = logits(model)
        with torch.no_grad():
            for name, dim, index in selections(model, weights):
                model.get_parameter(name).index_fill_(dim, index, 0.7)
        assert torch.equal(logits(model), before)


@pytest.mark.parametrize("name", ["model.layers.3.mlp.up_proj", "model.layers.0.mlp.upproj", "lm_head", "mlp.up_proj"])
def test_unknown_weights_are_refused_by_name(name):
    with pytest.raises(SeaError, match=name):
        selections(tiny("llama"), {name: [0]})


@pytest.mark.parametrize(("projection", "index"), [("down_proj", 48), ("k_proj", 16), ("q_proj", 32), ("up_proj", -1)])
def test_indices_out_of_range_are_refused(projection, index):
    with pytest.raises(SeaError, match=f"neuron {index} of .*{projection}.* out of range"):
        Deactivated(tiny("llama"), {weight_name(projection): [0, index]})


def test_file_gives_back_what_was_written(tmp_path):
    model, path = tiny("llama"), tmp_path / "neurons.safetensors"
    sets = {
        "th": {weight_name("down_proj"): neurons(0, 5, 47), weight_name("k_proj", 0): neurons(15)},
        "zh-Hant": {weight_name("up_proj"): neurons()},
        "en": {},
    }
    save_neurons(path, sets, metadata(model) | {"note": "by hand"})
    read, about = load_neurons(path)
    assert set(read) == set(sets)
    for lang, weights in sets.items():
        assert set(read[lang]) == set(weights)
        for name, expected in weights.items():
            assert np.array_equal(read[lang][name].indices, expected.indices)
            assert np.array_equal(read[lang][name].scores, expected.scores)
    assert about["method"] == "lape" and about["note"] == "by hand" and about["model_type"] == "llama"
    assert json.loads(about["counts"]) == {"th": 4, "zh-Hant": 0, "en": 0}
    check_architecture(about, model)
    assert set(load_file(path)) == {
        key + end for key in ("th/" + weight_name("down_proj"), "th/" + weight_name("k_proj", 0),
                              "zh-Hant/" + weight_name("up_proj")) for end in ("", ".scores")
    }  # fmt: skip


def test_neurons_of_another_architecture_are_refused_with_both_names():
    with pytest.raises(SeaError, match=r"llama \(.*head_dim 8.*qwen3 \(.*head_dim 16"):
        check_architecture(metadata(tiny("llama")), tiny("qwen3"))


def test_a_grown_vocabulary_is_the_same_architecture():
    model = tiny("llama")
    about = metadata(model)
    model.resize_token_embeddings(VOCABULARY + 8)
    check_architecture(about, model)


@pytest.mark.parametrize(
    ("name", "pair", "message"),
    [
        (weight_name("down_proj"), neurons(3, 3), "repeat"),
        (weight_name("down_proj"), neurons(5, 3), "not ascending"),
        (weight_name("down_proj"), neurons(48), "neuron 48 .* out of range"),
        (weight_name("k_proj"), neurons(16), "neuron 16 .* out of range"),
        (weight_name("q_proj"), neurons(-1, 2), "neuron -1 .* out of range"),
        (weight_name("down_proj", 3), neurons(1), "not a weight"),
        ("lm_head", neurons(1), "not a weight"),
        (weight_name("down_proj"), Neurons(np.array([1]), np.ones(1, np.float32)), "int32"),
        (weight_name("down_proj"), Neurons(np.array([1, 2], np.int32), np.ones(1, np.float32)), "score"),
        (weight_name("down_proj"), Neurons(np.array([1], np.int32), np.array([np.nan], np.float32)), "finite"),
    ],
)
def test_wrong_sets_are_refused_on_writing_and_on_reading(tmp_path, name, pair, message):
    path, about = tmp_path / "neurons.safetensors", metadata(tiny("llama"))
    with pytest.raises(SeaError, match=message):
        save_neurons(path, {"th": {name: pair}}, about)
    assert not path.exists()
    marks = {"format": "sea-neurons", "format_version": "1", "counts": json.dumps({"th": len(pair.indices)})}
    save_file({f"th/{name}": pair.indices, f"th/{name}.scores": pair.scores}, path, metadata=about | marks)
    with pytest.raises(SeaError, match=message) as caught:
        load_neurons(path)
    assert str(path) in str(caught.value)


def written(folder: Path) -> Path:
    path = folder / "neurons.safetensors"
    save_neurons(path, {"th": {weight_name("down_proj"): neurons(0, 5, 47)}}, metadata(tiny("llama")))
    return path


def test_a_cut_file_is_refused_at_every_length(tmp_path):
    data = written(tmp_path).read_bytes()
    cut = tmp_path / "cut.safetensors"
    for length in [*range(0, len(data), 7), len(data) - 1]:
        cut.write_bytes(data[:length])
        with pytest.raises(SeaError, match="cut.safetensors"):
            load_neurons(cut)


def test_a_foreign_file_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"model.embed_tokens.weight": np.zeros((2, 2), np.float32)}, path, metadata={"format": "pt"})
    with pytest.raises(SeaError, match="not a neuron file"):
        load_neurons(path)


@pytest.mark.parametrize("change", [{"format_version": "9"}, {"architecture": "{}"}, {"counts": '{"th": 2}'}])
def test_metadata_that_does_not_fit_is_refused(tmp_path, change):
    path = written(tmp_path)
    tensors, about = load_file(path), load_neurons(path)[1]
    save_file(tensors, path, metadata=about | change)
    with pytest.raises(SeaError, match="neurons.safetensors"):
        load_neurons(path)


@pytest.mark.parametrize("missing", ["", ".scores"])
def test_indices_and_scores_without_each_other_are_refused(tmp_path, missing):
    path = written(tmp_path)
    tensors, about = load_file(path), load_neurons(path)[1]
    del tensors["th/" + weight_name("down_proj") + missing]
    save_file(tensors, path, metadata=about)
    with pytest.raises(SeaError, match="beside it"):
        load_neurons(path)


def test_union_of_languages():
    down, up = weight_name("down_proj"), weight_name("up_proj")
    sets = {"th": {down: neurons(1, 4)}, "lo": {down: neurons(4, 6), up: neurons(2)}, "en": {up: neurons(3)}}
    merged = union(sets, ["th", "lo"])
    assert {name: indices.tolist() for name, indices in merged.items()} == {down: [1, 4, 6], up: [2]}
    with pytest.raises(UsageError, match="km.*en, lo, th"):
        union(sets, ["km"])
