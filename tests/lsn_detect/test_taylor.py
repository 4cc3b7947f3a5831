"""The Taylor score against finite differences: the loss of each document with one neuron a little larger."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from seatools.engine.neuron_layers import find_layers
from seatools.lsn_detect.head_rows import head_rows, source_of
from seatools.lsn_detect.statistics import observe
from seatools.lsn_detect.taylor import TaylorScores, observe_with_loss
from seatools.streams.errors import SeaError

CHANGES: dict[str, dict[str, Any]] = {"gpt2": dict(n_embd=24, n_layer=2, n_head=4, head_dim=None)}
PARTS = ("ffn", "q", "k", "v", "o")


def precise(model: Any) -> Any:
    """`model` with RMS norms that do not round to float32 on the way, which finite differences would feel."""
    for module in model.modules():
        if type(module).__name__.endswith("RMSNorm"):
            gain = (module.weight + (1 if type(module).__name__.startswith("Gemma") else 0)).detach()
            eps = getattr(module, "variance_epsilon", None) or module.eps

            def norm(x: torch.Tensor, gain: torch.Tensor = gain, eps: float = eps) -> torch.Tensor:
                return gain * x * (x.square().mean(-1, keepdim=True) + eps).rsqrt()

            module.forward = norm
    return model


def scores(model: Any, batches: list[Any], parts: tuple[str, ...] = PARTS) -> dict[tuple[int, str], np.ndarray]:
    collector = TaylorScores(model, find_layers(model), parts=parts)
    observe_with_loss(model, [collector], batches)
    return {key: found["taylor"] for key, found in collector.arrays().items()}


def loss_of(model: Any, ids: np.ndarray) -> float:
    """The summed loss of one document, in float64."""
    tokens = torch.from_numpy(ids.astype(np.int64))[None]
    with torch.no_grad():
        logits = model(input_ids=tokens).logits[0, :-1]
    return float(torch.nn.functional.cross_entropy(logits.double(), tokens[0, 1:], reduction="sum"))


def scaled_loss(model: Any, ids: np.ndarray, layer: int, part: str, index: int, factor: float) -> float:
    """The loss with the activation of one neuron times `factor`."""
    layers = find_layers(model)
    if part in ("ffn", "o"):
        module = layers.ffn[layer].down if part == "ffn" else layers.attention[layer].o

        def before(_module: Any, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
            changed = args[0].clone()
            changed[..., index] *= factor
            return (changed, *args[1:])

        handle = module.register_forward_pre_hook(before)
    else:
        attention = layers.attention[layer]

        def after(_module: Any, args: Any, output: torch.Tensor) -> torch.Tensor:
            output = output.clone()
            rows = head_rows(attention, part, args[0], output, (1, len(ids)))
            rows[:, :, index // attention.head_dim, index % attention.head_dim] *= factor
            return output

        handle = source_of(attention, part).register_forward_hook(after)
    try:
        return loss_of(model, ids)
    finally:
        handle.remove()


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma3", "gpt2", "phi3"])
def test_score_is_the_derivative_of_the_loss_in_a_factor_on_the_neuron(family, part, tiny, documents, batches):
    model, (ids,) = precise(tiny(family, **CHANGES.get(family, {}))), documents(1)
    found = scores(model, batches([ids]), (part,))
    step = 1e-4
    for layer in (0, 1):
        ours = found[layer, part][0]
        for index in np.linspace(0, len(ours) - 1, 5).astype(int):
            up, down = (scaled_loss(model, ids, layer, part, index, 1 + sign * step) for sign in (1, -1))
            slope = abs(up - down) / (2 * step)
            assert ours[index] == pytest.approx(slope, rel=1e-4, abs=1e-5 * ours.max())  # the head is in float32
        assert ours.max() > 1e-3


@pytest.mark.parametrize("family", ["llama", "phi3", "qwen3"])
def test_packed_documents_count_as_they_do_alone_each_in_its_half(family, tiny, documents, batches):
    model, docs = tiny(family), documents(5)
    packed = scores(model, batches(docs, seq_len=41))
    alone = [scores(model, batches([doc])) for doc in docs]
    for key, found in packed.items():
        for half in (0, 1):
            expected = sum(each[key][0] for each in alone[half::2])
            np.testing.assert_allclose(found[half], expected, rtol=1e-4, atol=1e-5 * expected.max())


def test_without_positions_a_head_has_the_same_score_in_q_and_k_and_in_v_and_o(tiny, documents, batches):
    """q dL/dq and k dL/dk are both the logit's share q_i k_i dL/dlogit; without groups o is linear in v."""
    found = scores(tiny("gpt2", **CHANGES["gpt2"]), batches(documents(1)))
    for layer in (0, 1):
        np.testing.assert_allclose(found[layer, "q"], found[layer, "k"], rtol=1e-9)
        np.testing.assert_allclose(found[layer, "v"], found[layer, "o"], rtol=1e-9)


def test_loss_is_that_of_all_tokens_but_the_first_and_weights_are_left_alone(tiny, documents, batches):
    model, docs = tiny(), documents(4)
    frozen = model.model.embed_tokens.weight.requires_grad_(False)
    loss = observe_with_loss(model, [], batches(docs))
    assert loss.tokens == sum(len(doc) - 1 for doc in docs)
    assert loss.nats == pytest.approx(sum(loss_of(model, doc) for doc in docs), rel=1e-6)
    assert loss.mean == loss.nats / loss.tokens
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(parameter.requires_grad == (parameter is not frozen) for parameter in model.parameters())
    assert not model.get_input_embeddings()._forward_hooks


def test_shared_expert_has_a_score_and_fused_experts_are_refused_by_name(tiny, documents, batches):
    model = tiny(
        "qwen2_moe", moe_intermediate_size=12, shared_expert_intermediate_size=16, mlp_only_layers=[], hidden_size=32
    )
    found = scores(model, batches(documents(2)), ("shared", "v"))
    assert found[1, "shared"].shape == (2, 16)
    assert (found[1, "shared"] > 0).any()
    with pytest.raises(SeaError, match=r"Experts \(model.layers.0.*one module"):
        TaylorScores(model, find_layers(model), parts=("ffn",))


def test_scores_without_a_backward_pass_are_an_error(tiny, documents, batches):
    model = tiny()
    with pytest.raises(RuntimeError, match="observe_with_loss"):
        observe(model, [TaylorScores(model, find_layers(model), parts=("ffn",))], batches(documents(1)))


def test_a_loss_that_is_not_finite_is_an_error(tiny, documents, batches):
    model = tiny()
    with torch.no_grad():
        model.model.layers[0].mlp.down_proj.weight[0, 0] = torch.inf
    with pytest.raises(SeaError, match="not finite"):
        observe_with_loss(model, [], batches(documents(1)))
    assert all(parameter.requires_grad for parameter in model.parameters())
