"""Which parameters neurons are, to be trained."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_families import tiny
from tiny_neurons import ATTENTION, EVERY, FFN, logits, places_of, some_neurons, weight_name

from seatools.engine.deactivate import Deactivated
from seatools.engine.neuron_parts import selections
from seatools.streams.errors import SeaError


def test_selections_are_rows_columns_and_bias_entries() -> None:
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
    assert chosen[0][2].data_ptr() != chosen[1][2].data_ptr()  # a checkpoint refuses tensors that share memory


def test_of_transposed_weights_rows_are_columns() -> None:
    base = "transformer.h.1"
    chosen = selections(tiny("gpt2"), {f"{base}.attn.c_attn": [95], f"{base}.mlp.c_proj": [3], f"{base}.mlp.c_fc": [7]})
    assert [(name, dim, index.tolist()) for name, dim, index in chosen] == [
        (f"{base}.attn.c_attn.weight", 1, [95]), (f"{base}.attn.c_attn.bias", 0, [95]),
        (f"{base}.mlp.c_fc.weight", 1, [7]), (f"{base}.mlp.c_fc.bias", 0, [7]),
        (f"{base}.mlp.c_proj.weight", 0, [3]),
    ]  # fmt: skip


@pytest.mark.parametrize("family", EVERY)
def test_only_a_neurons_own_parameters_decide_whether_it_is_off(family: str) -> None:
    """Whatever stands in the selected parameters, a model whose neuron is off gives the same logits."""
    model = tiny(family)
    weights: dict[str, np.ndarray] = {}
    for place in places_of(model):
        if place.experts == 1:
            for view in place.views:
                index = view.physical(some_neurons(place))
                weights[view.name] = np.union1d(weights.get(view.name, index), index)
    with Deactivated(model, weights):
        before = logits(model)
        with torch.no_grad():
            for name, dim, index in selections(model, weights):
                model.get_parameter(name).index_fill_(dim, index, 0.7)
        assert torch.equal(logits(model), before)


def test_parts_of_fused_experts_are_refused_by_name() -> None:
    with pytest.raises(SeaError, match=r"model.layers.1.mlp.experts.down_proj .*MixtralExperts: parts of fused"):
        selections(tiny("mixtral"), {"model.layers.1.mlp.experts.down_proj": [0]})


@pytest.mark.parametrize("name", ["model.layers.3.mlp.up_proj", "model.layers.0.mlp.upproj", "lm_head", "mlp.up_proj"])
def test_unknown_weights_are_refused_by_name(name: str) -> None:
    with pytest.raises(SeaError, match=name):
        selections(tiny("llama"), {name: [0]})


def test_every_projection_of_llama_is_known() -> None:
    chosen = selections(tiny("llama"), {weight_name(projection): [0] for projection in FFN + ATTENTION})
    assert [(name, dim) for name, dim, _ in chosen] == [
        (f"{weight_name(projection)}.weight", int(projection in ("down_proj", "o_proj")))
        for projection in ("q_proj", "k_proj", "v_proj", "o_proj", *FFN)
    ]
