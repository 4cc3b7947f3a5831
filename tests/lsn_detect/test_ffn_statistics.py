"""FFN statistics against weights that are really zero, and against sums over documents alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from zeroed_weights import zeroing_changes

from seatools.engine.neuron_layers import find_layers
from seatools.lsn_detect.ffn_statistics import FFNStatistics
from seatools.lsn_detect.statistics import observe
from seatools.streams.errors import SeaError

DENSE = ("llama", "qwen3", "phi3", "gpt2", "opt", "gpt_neox", "bloom", "starcoder2", "gemma2", "olmo2")


def statistics(model: Any, batches: list[Any], **options: Any) -> dict[Any, dict[str, np.ndarray]]:
    options = {"top_k": (0.1, 0.5), "thresholds": (0.5,), **options}
    collector = FFNStatistics(find_layers(model), **options)
    observe(model, [collector], batches)
    return collector.arrays()


def of_one(arrays: dict[str, np.ndarray], name: str = "importance") -> np.ndarray:
    """The numbers of a lone document, which is of half 0."""
    assert not arrays[name][1].any()
    return arrays[name][0]


@pytest.mark.parametrize("family", DENSE)
def test_importance_is_what_zeroing_the_weights_changes(family, tiny, documents, batches):
    model, (ids,) = tiny(family), documents(1)
    arrays = statistics(model, batches([ids]))
    for layer in find_layers(model).ffn:
        brute = zeroing_changes(model, layer, layer.place, ids)
        assert np.median(brute) > 1e-2  # ReLUs (OPT) have neurons that are never on
        np.testing.assert_allclose(of_one(arrays[layer.place.key]), brute, rtol=1e-12)


def test_a_shared_experts_importance_is_the_change_of_the_whole_mixture(tiny, documents, batches):
    model, (ids,) = tiny("qwen2_moe"), documents(1)
    arrays = statistics(model, batches([ids]), parts=("shared",))
    (layer,) = (layer for layer in find_layers(model).ffn if layer.part == "shared")
    assert list(arrays) == [(1, "shared")]
    brute = zeroing_changes(model, layer, layer.place, ids)
    np.testing.assert_allclose(of_one(arrays[1, "shared"]), brute, rtol=1e-12)
    activation = activations_of(model, layer, ids)[1]  # its squares and magnitudes are of the expert alone
    np.testing.assert_allclose(of_one(arrays[1, "shared"], "squares"), activation.square().sum(0), rtol=1e-12)
    np.testing.assert_allclose(of_one(arrays[1, "shared"], "absolute"), activation.abs().sum(0), rtol=1e-12)


def activations_of(model: Any, layer: Any, ids: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """(pre-activation, activation) [tokens, d_ff] of a document alone."""
    kept: dict[str, torch.Tensor] = {}
    handles = [
        layer.gate.register_forward_hook(lambda _m, _a, out: kept.update(gate=layer.gate_take(out))),
        layer.down.register_forward_pre_hook(lambda _m, args: kept.update(activation=args[0])),
    ]
    with torch.no_grad():
        model(input_ids=torch.from_numpy(ids.astype(np.int64))[None])
    for handle in handles:
        handle.remove()
    return tuple(kept[name].reshape(len(ids), -1) for name in ("gate", "activation"))  # type: ignore[return-value]


@pytest.mark.parametrize("family", ["llama", "phi3", "gpt2"])
def test_sums_are_those_of_the_text_by_half_and_not_of_padding(family, tiny, documents, batches):
    model, docs = tiny(family), documents(5)
    packed = batches(docs, seq_len=41)
    assert any(batch.num_tokens < batch.batch.input_ids.numel() for batch in packed)
    arrays = statistics(model, packed)
    for layer in find_layers(model).ffn:
        expected = {name: torch.zeros(2, layer.place.size) for name in ("positive", "squares", "absolute")}
        expected = {name: tensor.double() for name, tensor in expected.items()}
        for number, doc in enumerate(docs):
            gate, activation = activations_of(model, layer, doc)
            expected["positive"][number % 2] += (gate > 0).sum(0)
            expected["squares"][number % 2] += activation.square().sum(0)
            expected["absolute"][number % 2] += activation.abs().sum(0)
        found = arrays[layer.place.key]
        assert found["positive"].tolist() == expected["positive"].long().tolist()
        for name in ("squares", "absolute"):
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-12)


def test_packed_documents_count_as_they_do_alone(tiny, documents, batches):
    model, docs = tiny("llama"), documents(7)
    packed = statistics(model, batches(docs, seq_len=41))
    alone = [statistics(model, batches([doc])) for doc in docs]
    for key, found in packed.items():
        each = np.stack([of_one(arrays[key]) for arrays in alone])  # [docs, n]
        for half in (0, 1):
            np.testing.assert_allclose(found["importance"][half], each[half::2].sum(0), rtol=1e-12)
            np.testing.assert_allclose(found["importance_squares"][half], (each[half::2] ** 2).sum(0), rtol=1e-12)
            np.testing.assert_allclose(found["least"][half], each[half::2].min(0), rtol=1e-12)
            assert found["exceeding"][0, half].tolist() == (each[half::2] >= 0.5).sum(0).tolist()
            ranks = np.stack([arrays[key]["worst_rank"][0] for arrays in alone[half::2]])
            assert found["worst_rank"][half].tolist() == ranks.max(0).tolist()
            assert found["selected"][1, half].tolist() == (ranks <= 10).sum(0).tolist()


@pytest.mark.parametrize("family", ["gemma2", "gemma3", "olmo2", "glm4"])
def test_exact_norm_is_the_change_behind_the_norm(family, tiny, documents, batches):
    model, (ids,) = tiny(family), documents(1)
    arrays, plain = (statistics(model, batches([ids]), exact_norm=exact) for exact in (True, False))
    for layer in find_layers(model).ffn:
        exact = of_one(arrays[layer.place.key])
        # The models' own norms round to float32; the formula is exact, which a norm in float64 shows.
        np.testing.assert_allclose(
            exact, zeroing_changes(model, layer, layer.place, ids, in_double(layer.post_norm)), rtol=1e-12
        )
        own = zeroing_changes(model, layer, layer.place, ids, layer.post_norm)
        np.testing.assert_allclose(exact, own, rtol=1e-6)
        assert not np.allclose(exact, of_one(plain[layer.place.key]), rtol=0.1)


def in_double(norm: Any) -> Any:
    """The same norm without its rounding: `.float()` and `.to(float32)` leave float64 as it is."""
    eps = getattr(norm, "eps", None) or norm.variance_epsilon
    gain = norm.weight + 1 if type(norm).__name__.startswith("Gemma") else norm.weight
    return lambda y: gain * y / (y.square().mean(-1, keepdim=True) + eps).sqrt()


def test_exact_norm_changes_nothing_in_a_model_without_such_a_norm(tiny, documents, batches):
    model, docs = tiny("llama"), documents(3)
    exact, plain = (statistics(model, batches(docs), exact_norm=flag) for flag in (True, False))
    for key, found in plain.items():
        assert all(np.array_equal(array, exact[key][name]) for name, array in found.items())


def test_norm_that_is_no_rms_norm_is_named(tiny, documents, batches):
    model = tiny("gemma2")
    norm = model.model.layers[1].post_feedforward_layernorm
    model.model.layers[1].post_feedforward_layernorm = torch.nn.LayerNorm(len(norm.weight)).double()
    with pytest.raises(SeaError, match=r"LayerNorm \(behind model.layers.1.mlp\)") as error:
        statistics(model, batches(documents(1)), exact_norm=True)
    assert "--exact-norm" in (error.value.fix or "")
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_norm_that_does_not_take_the_blocks_output_is_named(tiny, documents, batches):
    model = tiny("gemma2")
    model.model.layers[0].mlp.register_forward_hook(lambda _module, _args, output: output * 2)
    with pytest.raises(SeaError, match="does not take the block's output"):
        statistics(model, batches(documents(1)), exact_norm=True)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_summed_in_float32(dtype, tiny, documents, batches):
    """Against float64 sums of the very activations of the model."""
    model, (ids,) = tiny("llama", dtype), documents(1)
    arrays = statistics(model, batches([ids]))
    for layer in find_layers(model).ffn:
        gate, activation = activations_of(model, layer, ids)
        found, exact = arrays[layer.place.key], activation.double()
        norms = layer.down_weight().detach().double().norm(dim=0)
        assert of_one(found, "positive").tolist() == (gate > 0).sum(0).tolist()
        np.testing.assert_allclose(of_one(found, "squares"), exact.square().sum(0), rtol=1e-6)
        np.testing.assert_allclose(of_one(found), exact.square().sum(0).sqrt() * norms, rtol=1e-6)


def test_an_activation_that_turns_signs_has_no_count_of_positive_ones(tiny, documents, batches):
    model = tiny("llama", hidden_act="tanh")
    assert "positive" in statistics(model, batches(documents(1)))[0, "ffn"]
    for block in model.model.layers:
        block.mlp.act_fn = Turned()
    assert "positive" not in statistics(model, batches(documents(1)))[0, "ffn"]


class Turned(torch.nn.Module):
    """-x: 0 at 0, and negative where its input is positive."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return -x


def test_exact_norm_of_a_mixture_is_refused_by_name(tiny):
    from dataclasses import replace

    layers = find_layers(tiny("mixtral"))
    normed = replace(layers, ffn=tuple(replace(layer, post_norm=torch.nn.Identity()) for layer in layers.ffn))
    with pytest.raises(SeaError, match=r"MixtralExperts \(model.layers.0.mlp.experts\)"):
        FFNStatistics(normed, top_k=(0.1,), exact_norm=True)


def test_a_model_that_overflows_is_refused(tiny, documents, batches):
    model = tiny("llama")
    with torch.no_grad():
        model.model.norm.weight.fill_(torch.inf)
    with pytest.raises(SeaError, match="not finite"):
        statistics(model, batches(documents(1)))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_gives_what_a_cpu_gives(tiny, documents, batches):
    from dataclasses import replace as changed

    model, docs = tiny("qwen2_moe", torch.float32), documents(5)
    on_cpu = statistics(model, batches(docs, seq_len=41))
    moved = []
    for one in batches(docs, seq_len=41):
        inner = one.batch
        tensors = {name: getattr(inner, name).cuda() for name in ("input_ids", "position_ids", "loss_mask", "starts")}
        moved.append(changed(one, batch=changed(inner, **tensors)))
    for key, found in statistics(model.cuda(), moved).items():
        for name in ("importance", "squares", "absolute"):
            np.testing.assert_allclose(found[name], on_cpu[key][name], rtol=1e-4)
