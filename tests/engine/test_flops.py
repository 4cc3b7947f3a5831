"""FLOPs per token: the formulas against torch's own counter of matrix products, and PaLM's figure by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from seatools.engine.flops import flops_per_token, mean_context, peak_flops, token_work, work_per_token

TOKENS = 24
PRODUCTS = ("mm", "addmm")


def counted(model: Any) -> float:
    """FLOPs per token of matrix products with weights in one forward and backward, as torch counts them."""
    ids = (torch.arange(3, 3 + TOKENS) % model.config.vocab_size)[None]
    with FlopCounterMode(display=False) as counter:
        hidden = model.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state[0, :-1]
        loss = torch.nn.functional.cross_entropy(model.lm_head(hidden), ids[0, 1:])
        if loss.requires_grad:
            loss.backward()
    found = counter.get_flop_counts()["Global"]
    return sum(flops for operation, flops in found.items() if str(operation).split(".")[-1] in PRODUCTS) / TOKENS


def train_only(model: Any, *wanted: str) -> None:
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(any(word in name for word in wanted))


@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma2"])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(
    "wanted", [("",), ("layers.1.",), ("layers.2.mlp.down_proj",), ("layers.0.mlp.up_proj",), ("q_proj",), ("norm",)]
)
def test_work_is_what_torch_counts(tiny_model, family, tied, wanted):
    model = tiny_model(family, tie_word_embeddings=tied)
    train_only(model, *wanted)
    work = work_per_token(model, target_share=(TOKENS - 1) / TOKENS)
    assert work.total == pytest.approx(counted(model), rel=1e-6)


def test_frozen_model_costs_the_forward_pass_only(tiny_model):
    model = tiny_model("llama")
    train_only(model, "nothing of that name")
    work = work_per_token(model, target_share=(TOKENS - 1) / TOKENS)
    assert (work.input_gradients, work.weight_gradients) == (0, 0)
    assert work.forward == pytest.approx(counted(model), rel=1e-6)


def test_full_training_is_palms_figure(tiny_model):
    model = tiny_model("llama")
    config = model.config
    weights = sum(p.numel() for n, p in model.named_parameters() if p.ndim == 2 and "embed_tokens" not in n)
    by_hand = 6 * weights + 6 * config.num_hidden_layers * config.num_attention_heads * config.head_dim * 40
    assert flops_per_token(model, 40) == by_hand
    assert work_per_token(model, context=40).total == by_hand


def test_neurons_cost_two_thirds_of_full_training(tiny_model):
    class Rows:  # what a Selection of one row looks like
        def __init__(self, param: torch.nn.Parameter) -> None:
            self.param, self.dim, self.index = param, 0, torch.tensor([0])

    model = tiny_model("llama")
    name = "model.layers.0.self_attn.q_proj.weight"
    work = work_per_token(model, [(name, Rows(dict(model.named_parameters())[name]))])
    assert work.weight_gradients == 2 * model.config.hidden_size
    first = 2 * 32 * (32 + 16 + 16)  # the products of q, k and v of layer 0 need no gradient of their input
    assert work.forward - work.input_gradients == first


def test_a_window_bounds_the_keys():
    shapes, config = {}, dict(num_hidden_layers=2, num_attention_heads=2, head_dim=4, sliding_window=10)
    documents = 100
    keys = sum(min(place, 10) for place in range(1, documents + 1)) / documents
    work = token_work(shapes, config, {}, context=documents)
    assert work.forward == pytest.approx(2 * 4 * 8 * keys, rel=2e-2)
    mixed = token_work(
        shapes, {**config, "layer_types": ["full_attention", "sliding_attention"]}, {}, context=documents
    )
    assert mixed.forward == pytest.approx(4 * 8 * (keys + documents / 2), rel=2e-2)


def test_experts_count_by_the_share_that_a_token_passes():
    shapes = {"model.layers.0.mlp.experts.down_proj": (8, 16, 32)}
    config = dict(num_hidden_layers=0, num_local_experts=8, num_experts_per_tok=2)
    assert token_work(shapes, config).forward == 2 * 2 * 16 * 32


def test_mean_context_is_of_tokens_not_of_documents():
    assert mean_context([10, 30]) == (100 + 900) / 40
    assert mean_context([]) == 0.0


@pytest.mark.parametrize(
    ("name", "peak"),
    [("NVIDIA H100 80GB HBM3", 989e12), ("NVIDIA H100 PCIe", 756e12), ("NVIDIA H200", 989e12), ("T4", None)],
)
def test_the_peak_is_that_of_the_board_and_not_of_its_family(monkeypatch, name, peak):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    assert peak_flops(torch.device("cuda")) == peak
