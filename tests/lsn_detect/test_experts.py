"""The statistics of experts against weights that are really zero, and our forward against the module's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from zeroed_weights import zeroing_changes

from seatools.engine.neuron_layers import Experts, find_layers
from seatools.lsn_detect.experts import check_same, run_experts
from seatools.lsn_detect.ffn_statistics import FFNStatistics
from seatools.lsn_detect.statistics import observe
from seatools.streams.errors import SeaError

FAMILIES = ("mixtral", "qwen2_moe", "qwen3_moe", "olmoe")
SIZES = {"olmoe": {"hidden_size": 32}}  # its QK-norms do not go by head_dim


def experts_of(model: Any) -> list[Experts]:
    return [layer for layer in find_layers(model).ffn if isinstance(layer, Experts)]


def statistics(model: Any, batches: list[Any]) -> dict[Any, dict[str, np.ndarray]]:
    collector = FFNStatistics(find_layers(model), ("ffn",), top_k=(0.1, 0.5))
    observe(model, [collector], batches)
    return collector.arrays()


@pytest.mark.parametrize("family", FAMILIES)
def test_importance_is_what_zeroing_the_weights_changes(family, tiny, documents, batches):
    model, (ids,) = tiny(family, **SIZES.get(family, {})), documents(1)
    arrays = statistics(model, batches([ids]))
    for layer in experts_of(model):
        brute = zeroing_changes(model, layer, layer.place, ids)
        found = arrays[layer.place.key]
        # Changes go down to 1e-6 of outputs of about 1, of which the brute force is a difference.
        np.testing.assert_allclose(found["importance"][0], brute, rtol=1e-12, atol=1e-15)
        never = np.repeat(found["routed"][0] == 0, layer.width)
        assert (found["importance"][0][never] == 0).all()
        assert (found["worst_rank"][0][never] == layer.place.size + 1).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_counts_and_sums_are_of_the_tokens_that_the_router_sends(family, tiny, documents, batches):
    """Against the module's formulas, token by token, from what enters it."""
    model, docs = tiny(family, **SIZES.get(family, {})), documents(5)
    arrays = statistics(model, batches(docs, seq_len=41))
    for layer in experts_of(model):
        module: Any = layer.module
        expected = {
            name: torch.zeros(2, layer.num_experts, layer.width, dtype=torch.float64)
            for name in ("positive", "squares", "absolute")
        }
        routed = torch.zeros(2, layer.num_experts, dtype=torch.int64)
        for number, doc in enumerate(docs):
            hidden, index = entering(model, module, doc)
            for token, experts in enumerate(index.tolist()):
                for expert in experts:
                    gate, up = (module.gate_up_proj[expert] @ hidden[token]).chunk(2)
                    activation = module.act_fn(gate) * up
                    routed[number % 2, expert] += 1
                    expected["positive"][number % 2, expert] += gate > 0
                    expected["squares"][number % 2, expert] += activation.square()
                    expected["absolute"][number % 2, expert] += activation.abs()
        found = arrays[layer.place.key]
        assert found["routed"].tolist() == routed.tolist()
        assert found["positive"].tolist() == expected["positive"].flatten(1).long().tolist()
        for name in ("squares", "absolute"):
            np.testing.assert_allclose(found[name], expected[name].flatten(1).detach(), rtol=1e-11)


def entering(model: Any, module: Any, ids: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """(hidden [T, D], chosen experts [T, k]) of a document alone."""
    kept: list[Any] = []
    handle = module.register_forward_pre_hook(lambda _module, args: kept.append(args))
    with torch.no_grad():
        model(input_ids=torch.from_numpy(ids.astype(np.int64))[None])
    handle.remove()
    return kept[0][0], kept[0][1]


def test_packed_documents_count_as_they_do_alone(tiny, documents, batches):
    model, docs = tiny("mixtral"), documents(7)
    packed = statistics(model, batches(docs, seq_len=41))
    alone = [statistics(model, batches([doc])) for doc in docs]
    for key, found in packed.items():
        for half in (0, 1):
            each = np.stack([arrays[key]["importance"][0] for arrays in alone[half::2]])
            np.testing.assert_allclose(found["importance"][half], each.sum(0), rtol=1e-12)
            routed = sum(arrays[key]["routed"][0] for arrays in alone[half::2])
            assert found["routed"][half].tolist() == routed.tolist()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("implementation", ["eager", "grouped_mm", "batched_mm"])
def test_our_forward_is_the_modules(dtype, implementation, tiny):
    model = tiny("qwen3_moe", dtype)
    if implementation == "grouped_mm" and dtype == torch.float64:
        pytest.skip("torch has no grouped product of float64")
    model.set_experts_implementation(implementation)
    layer = experts_of(model)[0]
    with torch.no_grad():
        check_same(layer)
        hidden = torch.randn(9, 24).to(dtype)
        index = torch.tensor([[0, 3]] * 9)  # experts 1 and 2 get nothing
        weights = torch.rand(9, 2).to(dtype)
        ours, theirs = run_experts(layer, hidden, index, weights), layer.module(hidden, index, weights)
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 2e-2}[dtype]
    assert float((ours - theirs).norm() / theirs.norm()) < tolerance


def test_the_model_gives_the_same_while_it_is_observed_and_its_own_forward_comes_back(tiny, documents, batches):
    model, (batch,) = tiny("mixtral"), batches(documents(1))
    collector = FFNStatistics(find_layers(model), top_k=(0.1,))
    with torch.no_grad():
        before = model(input_ids=batch.batch.input_ids).logits
    with torch.no_grad(), collector:
        collector.begin(batch)
        during = model(input_ids=batch.batch.input_ids).logits
        assert all("forward" in vars(layer.module) for layer in experts_of(model))
    torch.testing.assert_close(during, before, rtol=1e-12, atol=0)
    assert not any("forward" in vars(module) for module in model.modules())


def test_experts_with_a_rule_of_their_own_are_refused_by_name(tiny, documents, batches):
    model = tiny("mixtral")
    module = model.model.layers[1].mlp.experts
    module._apply_gate = lambda gate_up: gate_up.chunk(2, -1)[1].relu() * gate_up.chunk(2, -1)[0]
    with pytest.raises(SeaError, match=r"MixtralExperts \(model.layers.1.mlp.experts\)"):
        statistics(model, batches(documents(1)))
    assert not any("forward" in vars(one) for one in model.modules())  # layer 0's is back too


def test_experts_that_give_something_else_are_refused_by_name(tiny, documents, batches):
    model = tiny("mixtral")
    experts = experts_of(model)[0].module
    own = experts.forward
    experts.forward = lambda *args: own(*args) * 1.01
    with pytest.raises(SeaError, match=r"MixtralExperts \(model.layers.0.mlp.experts\)"):
        statistics(model, batches(documents(1)))
    assert vars(experts)["forward"](torch.zeros(1, 24).double(), torch.zeros(1, 1).long(), torch.ones(1, 1)).sum() == 0
