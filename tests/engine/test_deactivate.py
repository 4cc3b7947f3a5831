"""Neurons switched off against zeroed parameters, in every layout; and all as it was afterwards."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tiny_families import tiny
from tiny_neurons import EVERY, logits, places_of, some_neurons, weight_name
from transformers.pytorch_utils import Conv1D

from seatools.engine.deactivate import Deactivated
from seatools.engine.neuron_layers import find_layers
from seatools.engine.neuron_layout import Place, WeightView
from seatools.streams.errors import SeaError


def is_column(place: Place, view: WeightView) -> bool:
    return place.part == "o" or (place.part in ("ffn", "shared") and view is place.views[-1])


def zero(model: Any, place: Place, view: WeightView, neurons: np.ndarray) -> None:
    """Set the parameters of these neurons in one weight to zero: the definition of switching off."""
    index = torch.from_numpy(view.physical(neurons))
    with torch.no_grad():
        if place.experts > 1:
            weight = model.get_parameter(view.name)
            axis = 2 if is_column(place, view) else 1
            weight.data = weight.transpose(1, axis).flatten(0, 1).index_fill(0, index, 0).unflatten(
                0, (place.experts, -1)).transpose(1, axis).contiguous()  # fmt: skip
            return
        module = model.get_submodule(view.name)
        weight = module.weight.T if isinstance(module, Conv1D) else module.weight  # [out, in]
        if is_column(place, view):
            weight[:, index] = 0
        else:
            weight[index] = 0
            if module.bias is not None:
                module.bias[index] = 0


@pytest.mark.parametrize("family", EVERY)
def test_off_equals_zeroed_parameters_by_each_weight_alone_and_by_all(family: str) -> None:
    """A gate row, an up row and a down column are one switch: each alone does what all do."""
    model = tiny(family, torch.float64)
    before = logits(model)
    places = [place for place in places_of(model) if place.layer == 1]
    for place in places:
        neurons = some_neurons(place)
        ways = [(view,) for view in place.views] + [place.views] * (len(place.views) > 1)
        results = []
        for views in ways:
            weights: dict[str, np.ndarray] = {}
            zeroed = tiny(family, torch.float64)
            for view in views:
                zero(zeroed, place, view, neurons)
                weights[view.name] = np.union1d(weights.get(view.name, np.array([], np.int64)), view.physical(neurons))
            with Deactivated(model, weights):
                off = logits(model)
            assert torch.allclose(off, logits(zeroed), atol=1e-12, rtol=0), (place.key, views)
            results.append(off)
        assert all(torch.equal(results[0], off) for off in results), place.key
        assert (results[0] - before).abs().max() > 1e-6, place.key
    assert torch.equal(logits(model), before)


@pytest.mark.parametrize("family", EVERY)
def test_all_kinds_off_together_equal_zeroed_parameters(family: str) -> None:
    model, zeroed = tiny(family, torch.float64), tiny(family, torch.float64)
    weights: dict[str, np.ndarray] = {}
    for place in places_of(model):
        for seed, view in enumerate(place.views):
            neurons = some_neurons(place, seed)
            zero(zeroed, place, view, neurons)
            weights[view.name] = np.union1d(weights.get(view.name, np.array([], np.int64)), view.physical(neurons))
    with Deactivated(model, weights):
        assert torch.allclose(logits(model), logits(zeroed), atol=1e-12, rtol=0)


@pytest.mark.parametrize("family", EVERY)
def test_a_key_or_value_neuron_reaches_the_query_heads_of_its_group_and_no_other(family: str) -> None:
    """By what the output projection takes: head h reads key head h // group, in the model's own computation."""
    model = tiny(family, torch.float64)
    attention = find_layers(model).attention[1]
    group, d = attention.num_heads // attention.num_kv_heads, attention.head_dim
    taken: list[torch.Tensor] = []
    attention.o.register_forward_pre_hook(lambda _, args: taken.append(args[0]))
    logits(model)
    for part in "qkv":
        place = attention.places[part]
        for neuron in {0, d - 1, place.size - 1, place.size // 2 + 3}:
            (view,) = place.views
            with Deactivated(model, {view.name: view.physical(np.array([neuron]))}):
                logits(model)
            changed = (taken[-1] != taken[0]).any(0).any(0).unflatten(0, (attention.num_heads, d))
            head = neuron // d
            heads = [head] if part == "q" else list(range(head * group, (head + 1) * group))
            if part == "v":  # and only at its own place in them, where nothing is left
                expected = torch.zeros_like(changed)
                expected[heads, neuron % d] = True
                assert torch.equal(changed, expected), (part, neuron)
                assert not taken[-1].unflatten(-1, (attention.num_heads, d))[..., heads, neuron % d].any()
            elif family not in ("olmo2", "olmoe"):  # whose norm of q and k is over all heads
                assert changed.any(1).nonzero().flatten().tolist() == heads, (part, neuron)


@pytest.mark.parametrize("family", ["qwen3", "phi3", "gpt2", "opt", "falcon-new", "qwen2_moe"])
def test_leaving_restores_bit_equal_logits_also_after_an_exception(family: str) -> None:
    model = tiny(family)
    before, state = logits(model), {name: value.clone() for name, value in model.state_dict().items()}
    weights = {view.name: [1, 2] for place in places_of(model) for view in place.views}
    switch = Deactivated(model, weights)
    with switch:
        assert not torch.equal(logits(model), before)
        assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert torch.equal(logits(model), before)
    with pytest.raises(ZeroDivisionError), switch:
        _ = 1 / 0
    assert torch.equal(logits(model), before)


class Broken(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise ZeroDivisionError


def test_an_exception_inside_of_experts_leaves_their_weights_as_they_were() -> None:
    model = tiny("mixtral", torch.float64)
    before = logits(model)
    experts: Any = find_layers(model).ffn[1].module
    place = next(place for place in places_of(model) if place.key == (1, "ffn"))
    act = experts.act_fn
    with Deactivated(model, {place.views[-1].name: [0, 50, 191]}), pytest.raises(ZeroDivisionError):
        experts.act_fn = Broken()
        logits(model)
    experts.act_fn = act
    assert torch.equal(logits(model), before)


@pytest.mark.parametrize("family", ["llama", "phi3", "mixtral"])
def test_nested_switches_add_up_and_leave_one_by_one(family: str) -> None:
    model = tiny(family)
    before = logits(model)
    name = next(place for place in places_of(model) if place.key == (1, "ffn")).views[0].name
    with Deactivated(model, {name: [1, 3]}):
        one = logits(model)
        with Deactivated(model, {name: [2, 3]}):
            both = logits(model)
        assert torch.equal(logits(model), one)
    assert torch.equal(logits(model), before) and not torch.equal(one, before)
    with Deactivated(model, {name: [1, 2, 3]}):
        assert torch.equal(logits(model), both)


def test_the_same_switch_twice_at_once_is_refused() -> None:
    switch = Deactivated(tiny("llama"), {weight_name("up_proj"): [1]})
    with switch, pytest.raises(RuntimeError, match="a second Deactivated"), switch:
        pass


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_experts_are_off_in_transformers_grouped_product_as_well(dtype: torch.dtype) -> None:
    model = tiny("mixtral", dtype)
    assert model.config._experts_implementation == "grouped_mm"
    place = next(place for place in places_of(model) if place.key == (1, "ffn"))
    neurons = some_neurons(place)
    zeroed = tiny("mixtral", dtype)
    zero(zeroed, place, place.views[-1], neurons)
    with Deactivated(model, {place.views[0].name: place.views[0].physical(neurons)}), torch.inference_mode():
        off = logits(model)
    assert torch.equal(off, logits(zeroed))


def test_no_weights_switch_nothing_off() -> None:
    model = tiny("llama")
    before = logits(model)
    with Deactivated(model, {weight_name("up_proj"): []}):
        assert torch.equal(logits(model), before)


@pytest.mark.parametrize(("projection", "index"), [("down_proj", 48), ("k_proj", 16), ("q_proj", 32), ("up_proj", -1)])
def test_indices_out_of_range_are_refused(projection: str, index: int) -> None:
    with pytest.raises(SeaError, match=f"neuron {index} of .*{projection}.* out of range"):
        Deactivated(tiny("llama"), {weight_name(projection): [0, index]})


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("family", ["llama", "phi3", "gpt2", "mixtral"])
def test_cuda_switches_off_what_the_cpu_does(family: str) -> None:
    results = []
    for device in ("cpu", "cuda"):
        model = tiny(family).to(device)
        weights = {view.name: [1, 2] for place in places_of(model) for view in place.views}
        with Deactivated(model, weights), torch.no_grad():
            results.append(model(input_ids=torch.arange(3, 27, device=device)[None]).logits.cpu())
    torch.testing.assert_close(*results, atol=1e-3, rtol=1e-3)
