"""Muon against torch's, and what makes its learning rate that of AdamW."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from seatools.engine.muon import muon_names, muon_update, orthogonal
from seatools.engine.optimise import MasterAdamW


def matrix(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(16, 16), (48, 16), (16, 48)])
def test_singular_values_come_near_one_and_singular_vectors_stay(shape: tuple[int, int]) -> None:
    before = matrix(*shape)
    u, sizes, v = torch.linalg.svd(before, full_matrices=False)
    after = orthogonal(before)
    inside = u.T @ after @ v.T  # diagonal if the vectors are the same
    big = sizes > 0.05 * sizes[0]
    assert big.sum() >= 14
    values = inside.diagonal()[big]
    assert float(values.min()) > 0.6 and float(values.max()) < 1.25
    torch.testing.assert_close(inside, torch.diag(inside.diagonal()), atol=1e-4, rtol=0)
    assert not orthogonal(torch.zeros(shape)).any()


def test_in_bf16_it_is_that_of_torch_to_the_bit() -> None:
    from torch.optim._muon import _zeropower_via_newtonschulz

    for shape in ((16, 16), (48, 16), (16, 48)):
        theirs = _zeropower_via_newtonschulz(matrix(*shape), (3.4445, -4.7750, 2.0315), 5, 1e-7)
        assert torch.equal(orthogonal(matrix(*shape), torch.bfloat16), theirs)


@pytest.mark.parametrize("shape", [(24, 16), (16, 40)])
def test_steps_are_those_of_torch_up_to_its_bf16(shape: tuple[int, int]) -> None:
    ours, theirs = nn.Parameter(matrix(*shape)), nn.Parameter(matrix(*shape))
    optimizer = MasterAdamW([("w", ours)], muon=frozenset("w"), weight_decay=0.1, lr_scales={"w": 0.5})
    reference = torch.optim.Muon([theirs], lr=5e-3, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    start = matrix(*shape)
    for step in range(10):
        ours.grad = matrix(*shape, seed=100 + step)
        theirs.grad = ours.grad.clone()
        optimizer.step(1e-2)
        reference.step()
    moved = (theirs - start).norm()
    assert moved > 0.1
    assert (ours - theirs).norm() < 0.02 * moved


def test_an_update_has_the_size_of_one_of_adamw() -> None:
    for shape in ((64, 256), (256, 64), (128, 128)):
        update = muon_update(matrix(*shape), torch.zeros(shape), torch.empty(shape))
        assert 0.15 < float(update.square().mean().sqrt()) < 0.25  # AdamW's is 0.2 to 0.4 (arXiv 2502.16982)


@pytest.mark.parametrize("tie", [True, False])
def test_it_is_for_the_linear_layers_inside_the_decoder(tiny_model: Callable[..., Any], tie: bool) -> None:
    model = tiny_model("qwen2", tie_word_embeddings=tie)
    names = muon_names(model)
    assert {name.split(".")[-2] for name in names} == {
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    }  # fmt: skip
    assert len(names) == 21
    optimizer = MasterAdamW(list(model.named_parameters()), muon=names)
    kept = [key for key in optimizer.state_dict() if key.endswith(".momentum")]
    assert len(kept) == 21
    assert not any(f"{name}.exp_avg" in optimizer.state_dict() for name in names)


def test_bf16_weights_have_masters_and_momentum_may_be_bf16() -> None:
    fine, coarse = nn.Parameter(matrix(8, 6)), nn.Parameter(matrix(8, 6).bfloat16())
    with torch.no_grad():
        fine.copy_(coarse)
    mine = MasterAdamW([("w", coarse)], muon=frozenset("w"), state_dtype=torch.bfloat16)
    reference = MasterAdamW([("w", fine)], muon=frozenset("w"))
    for step in range(20):
        coarse.grad = matrix(8, 6, seed=step).bfloat16()
        fine.grad = coarse.grad.float()
        mine.step(1e-4)
        reference.step(1e-4)
        mine.zero_grad()
    momentum = mine.entries[0].momentum
    assert momentum is not None and momentum.dtype == torch.bfloat16
    torch.testing.assert_close(mine.entries[0].master, fine.detach(), atol=2e-4, rtol=0)
    assert torch.equal(coarse.detach(), mine.entries[0].master.bfloat16())
