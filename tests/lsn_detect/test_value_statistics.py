"""V rows and O columns against weights that are really zero."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from zeroed_weights import zeroing_changes

from seatools.engine.neuron_layers import find_layers
from seatools.lsn_detect.statistics import observe
from seatools.lsn_detect.value_statistics import ValueStatistics
from seatools.streams.errors import SeaError

# 4 query heads on 4, 2 and 1 key heads; with biases (llama, qwen2), QK-norm (qwen3, olmo2), q, k and v in one weight.
MODELS: list[tuple[str, dict[str, Any]]] = [
    ("llama", {}), ("llama", {"num_key_value_heads": 1}), ("llama", {"num_key_value_heads": 4}), ("qwen2", {}),
    ("qwen3", {}), ("phi3", {}), ("gpt2", {}), ("gpt_neox", {}), ("opt", {}), ("bloom", {}), ("mixtral", {}),
    ("gemma2", {}), ("olmo2", {}), ("falcon", {"head_dim": None}), ("falcon-new", {"head_dim": None}),
]  # fmt: skip


def statistics(model: Any, batches: list[Any], **options: Any) -> dict[Any, dict[str, np.ndarray]]:
    collector = ValueStatistics(find_layers(model), **{"top_k": (0.25,), **options})
    observe(model, [collector], batches)
    return collector.arrays()


@pytest.mark.parametrize("part", ["v", "o"])
@pytest.mark.parametrize(("family", "changes"), MODELS)
def test_importance_is_what_zeroing_the_weights_changes(family, changes, part, tiny, documents, batches):
    model, (ids,) = tiny(family, **changes), documents(1)
    arrays = statistics(model, batches([ids]), parts=(part,))
    for layer in find_layers(model).attention:
        brute = zeroing_changes(model, layer, layer.places[part], ids)
        assert min(brute) > 1e-4
        np.testing.assert_allclose(arrays[layer.layer, part]["importance"][0], brute, rtol=1e-12)


def test_packed_documents_count_as_they_do_alone(tiny, documents, batches):
    model, docs = tiny("qwen3"), documents(7)
    packed = statistics(model, batches(docs, seq_len=41))
    alone = [statistics(model, batches([doc])) for doc in docs]
    for key, found in packed.items():
        each = np.stack([arrays[key]["importance"][0] for arrays in alone])
        for half in (0, 1):
            np.testing.assert_allclose(found["importance"][half], each[half::2].sum(0), rtol=1e-12)
            ranks = np.stack([arrays[key]["worst_rank"][0] for arrays in alone[half::2]])
            assert found["worst_rank"][half].tolist() == ranks.max(0).tolist()


def test_parts_alone_are_what_they_are_together(tiny, documents, batches):
    model, packed = tiny("llama"), batches(documents(4))
    both = statistics(model, packed)
    for part in ("v", "o"):
        alone = statistics(model, packed, parts=(part,))
        assert {key for key in both if key[1] == part} == set(alone)
        for key, found in alone.items():
            np.testing.assert_allclose(found["importance"], both[key]["importance"], rtol=1e-13)
    assert statistics(model, packed, parts=()) == {}


@pytest.mark.parametrize("part", ["v", "o"])
@pytest.mark.parametrize("family", ["gemma2", "olmo2", "glm4"])
def test_exact_norm_is_the_change_behind_the_norm(family, part, tiny, documents, batches):
    model, (ids,) = tiny(family), documents(1)
    arrays, plain = (statistics(model, batches([ids]), exact_norm=exact) for exact in (True, False))
    for layer in find_layers(model).attention:
        exact = arrays[layer.layer, part]["importance"][0]
        own = zeroing_changes(model, layer, layer.places[part], ids, layer.post_norm)
        np.testing.assert_allclose(exact, own, rtol=1e-6)  # the models' own norms round to float32
        double = zeroing_changes(model, layer, layer.places[part], ids, in_double(layer.post_norm))
        np.testing.assert_allclose(exact, double, rtol=1e-12)
        assert not np.allclose(exact, plain[layer.layer, part]["importance"][0], rtol=0.1)


def in_double(norm: Any) -> Any:
    """The same norm without its rounding: `.float()` and `.to(float32)` leave float64 as it is."""
    eps = getattr(norm, "eps", None) or norm.variance_epsilon
    gain = norm.weight + 1 if type(norm).__name__.startswith("Gemma") else norm.weight
    return lambda y: gain * y / (y.square().mean(-1, keepdim=True) + eps).sqrt()


def test_half_precision_is_summed_in_float32(tiny, documents, batches):
    model, (ids,) = tiny("llama", torch.bfloat16), documents(1)
    kept: list[torch.Tensor] = []
    layer = find_layers(model).attention[0]
    handle = layer.o.register_forward_pre_hook(lambda _module, args: kept.append(args[0]))
    arrays = statistics(model, batches([ids]))
    handle.remove()
    columns, weight = kept[0][0].double(), layer.o_weight().detach().double()
    lost = [
        sum(columns[:, None, h * 8 + i] * weight[None, :, h * 8 + i] for h in (2 * j, 2 * j + 1)).norm()
        for j in (0, 1)
        for i in range(8)
    ]
    np.testing.assert_allclose(arrays[0, "v"]["importance"][0], lost, rtol=1e-5)


def test_attention_that_norms_its_values_is_named(tiny):
    model = tiny("llama")
    model.model.layers[1].self_attn.v_norm = torch.nn.LayerNorm(8)
    with pytest.raises(SeaError, match="LlamaAttention"):
        ValueStatistics(find_layers(model), top_k=(0.1,))


def test_attention_that_is_not_handled_is_told(tiny):
    from dataclasses import replace

    layers = replace(find_layers(tiny("llama")), no_attention="its attention is a riddle")
    with pytest.raises(SeaError, match="riddle"):
        ValueStatistics(layers, top_k=(0.1,))
