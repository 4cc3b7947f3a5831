"""AdamW with fp32 masters against torch, whole tensors and selections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from seatools.engine.loss import summed_loss
from seatools.engine.optimise import MasterAdamW, Selection, clip_grad_norm
from seatools.engine.rows import make_batch
from seatools.streams.errors import SeaError


def weight(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> nn.Parameter:
    return nn.Parameter(torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype))


def gradient(parameter: nn.Parameter, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1000 + seed)
    return torch.randn(parameter.shape, generator=generator).to(parameter.dtype)


def test_fp32_updates_are_bit_equal_to_torch_adamw() -> None:
    ours, theirs = [weight(5, 3), weight(4, seed=1)], [weight(5, 3), weight(4, seed=1)]
    mine = MasterAdamW([("matrix", ours[0]), ("norm", ours[1])], weight_decay=0.1, lr_scales={"norm": 0.5})
    reference = torch.optim.AdamW(
        [{"params": [theirs[0]], "weight_decay": 0.1}, {"params": [theirs[1]], "weight_decay": 0.0}],
        betas=(0.9, 0.95), eps=1e-8, foreach=False,
    )  # fmt: skip
    for step in range(20):
        lr = 1e-2 / (1 + step)
        for a, b in zip(ours, theirs, strict=True):
            a.grad, b.grad = gradient(a, step), gradient(b, step)
        mine.step(lr)
        mine.zero_grad()
        reference.param_groups[0]["lr"], reference.param_groups[1]["lr"] = lr, lr * 0.5
        reference.step()
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a, b)


def test_small_steps_move_bf16_weights_that_pure_bf16_would_leave() -> None:
    start = torch.full((64,), 0.5).bfloat16()
    pure, mastered = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    plain = torch.optim.AdamW([pure], lr=1e-5, betas=(0.9, 0.95), weight_decay=0.0)
    ours = MasterAdamW([("w", mastered)], weight_decay=0.0)
    for _ in range(300):
        pure.grad, mastered.grad = torch.ones_like(pure), torch.ones_like(mastered)
        plain.step()
        ours.step(1e-5)
        ours.zero_grad()
    assert torch.equal(pure, start)
    torch.testing.assert_close(ours.entries[0].master, torch.full((64,), 0.497), atol=1e-5, rtol=0)
    assert torch.equal(mastered.detach(), ours.entries[0].master.bfloat16())
    assert not torch.equal(mastered, start)


def test_bf16_gradients_of_micro_batches_are_summed_in_fp32() -> None:
    parameter = nn.Parameter(torch.zeros(1, dtype=torch.bfloat16))
    optimizer = MasterAdamW([("w", parameter)])
    for factor in (256.0, *[0.5] * 8):  # each 0.5 would be lost beside 256 in bf16
        (parameter * factor).sum().backward()
        assert parameter.grad is None
    assert optimizer.gather()[0].tolist() == [260.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("dim", [0, 1])
def test_a_selection_is_trained_as_if_it_were_a_weight_of_its_own(dim: int, dtype: torch.dtype) -> None:
    whole, index = weight(6, 5, dtype=dtype), torch.tensor([4, 1])
    before = whole.detach().clone()
    part = nn.Parameter(before.index_select(dim, index))
    selected = MasterAdamW([("w", Selection(whole, dim, index))], weight_decay=0.5)
    alone = MasterAdamW([("w", part)], weight_decay=0.5)
    for step in range(5):
        whole.grad = gradient(whole, step)
        part.grad = whole.grad.index_select(dim, index)
        selected.step(1e-2)
        alone.step(1e-2)
        selected.zero_grad()
        alone.zero_grad()
    assert torch.equal(whole.index_select(dim, index), part)
    others = torch.tensor([i for i in range(whole.shape[dim]) if i not in (4, 1)])
    assert torch.equal(whole.index_select(dim, others), before.index_select(dim, others))
    assert not torch.equal(whole, before)
    assert selected.num_trained() == part.numel() == selected.entries[0].exp_avg.numel()


def test_training_selected_rows_of_a_model_changes_nothing_else(tiny_model: Callable[..., Any]) -> None:
    model = tiny_model("llama").requires_grad_(False)
    target = model.model.layers[1].mlp.up_proj.weight.requires_grad_()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = MasterAdamW([("up", Selection(target, 0, torch.tensor([3, 40])))])
    summed_loss(model, make_batch([[([5, 6, 7, 8, 9], [1] * 5)]]))[0].backward()
    assert target.grad is None  # the dense gradient is freed as soon as its rows are taken
    optimizer.step(1e-2)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"model.layers.1.mlp.up_proj.weight"}
    rows = (target != before["model.layers.1.mlp.up_proj.weight"]).any(1).nonzero()[:, 0]
    assert rows.tolist() == [3, 40]


def test_clipping_is_that_of_torch() -> None:
    ours, theirs = [weight(5, 3), weight(4, seed=1)], [weight(5, 3), weight(4, seed=1)]
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        a.grad, b.grad = gradient(a, i), gradient(b, i)
    optimizer = MasterAdamW([("a", ours[0]), ("b", ours[1])])
    norm = clip_grad_norm(optimizer, 0.5)
    torch.testing.assert_close(norm, nn.utils.clip_grad_norm_(theirs, 0.5))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.grad, b.grad)
    torch.testing.assert_close(clip_grad_norm(optimizer, None), torch.tensor(0.5))


def test_the_norm_sees_the_trained_entries_only() -> None:
    whole = weight(3, 2)
    optimizer = MasterAdamW([("w", Selection(whole, 0, torch.tensor([1])))])
    whole.grad = torch.tensor([[100.0, 0.0], [3.0, 4.0], [0.0, torch.inf]])
    assert float(clip_grad_norm(optimizer, 1.0)) == 5.0
    torch.testing.assert_close(optimizer.gather()[0], torch.tensor([[0.6, 0.8]]))


@pytest.mark.parametrize("bad", [torch.inf, torch.nan])
def test_a_gradient_that_is_not_finite_shows_in_the_norm(bad: float) -> None:
    parameter = weight(3)
    parameter.grad = torch.tensor([1.0, bad, 1.0])
    assert not torch.isfinite(clip_grad_norm(MasterAdamW([("w", parameter)]), 1.0))


def test_a_tensor_without_a_gradient_is_left_alone() -> None:
    parameter = weight(3, 3)
    before = parameter.detach().clone()
    optimizer = MasterAdamW([("w", parameter)])
    optimizer.step(1.0)
    assert torch.equal(parameter, before)
    assert float(clip_grad_norm(optimizer, 1.0)) == 0.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_saved_state_goes_on_to_the_same_bits(dtype: torch.dtype) -> None:
    def build(seed: int) -> tuple[MasterAdamW, list[nn.Parameter]]:
        a, b = weight(4, 3, seed=seed, dtype=dtype), weight(4, 3, seed=seed + 1, dtype=dtype)
        return MasterAdamW([("a", a), ("b", Selection(b, 1, torch.tensor([2])))]), [a, b]

    def train(optimizer: MasterAdamW, parameters: list[nn.Parameter], steps: range) -> None:
        for step in steps:
            for parameter in parameters:
                parameter.grad = gradient(parameter, step)
            optimizer.step(1e-3)
            optimizer.zero_grad()

    first, weights = build(0)
    train(first, weights, range(3))
    second, others = build(7)
    with torch.no_grad():
        for mine, theirs in zip(others, weights, strict=True):
            mine.copy_(theirs)
    second.load_state_dict({key: value.clone() for key, value in first.state_dict().items()})
    train(first, weights, range(3, 6))
    train(second, others, range(3, 6))
    assert all(torch.equal(a, b) for a, b in zip(weights, others, strict=True))


def test_a_state_of_other_tensors_is_refused_before_anything_changes() -> None:
    def state(**changes: Any) -> dict[str, torch.Tensor]:
        values = dict(name="a", shape=(4, 3), index=[2], dtype=torch.bfloat16)
        values.update(changes)
        parameter = weight(*values["shape"], seed=5, dtype=values["dtype"])
        return MasterAdamW([(values["name"], Selection(parameter, 1, torch.tensor(values["index"])))]).state_dict()

    parameter = weight(4, 3, dtype=torch.bfloat16)
    optimizer = MasterAdamW([("a", Selection(parameter, 1, torch.tensor([2])))])
    before = {key: value.clone() for key, value in optimizer.state_dict().items()}
    for wrong in (dict(name="b"), dict(shape=(5, 3)), dict(index=[1]), dict(index=[1, 2])):
        with pytest.raises(SeaError):
            optimizer.load_state_dict(state(**wrong))
    assert all(torch.equal(value, before[key]) for key, value in optimizer.state_dict().items())
    optimizer.load_state_dict(state())


def test_an_optimiser_that_is_gone_no_longer_takes_gradients() -> None:
    parameter = weight(3, dtype=torch.bfloat16)
    MasterAdamW([("w", parameter)])
    parameter.sum().backward()
    assert parameter.grad is not None


@pytest.mark.parametrize("index", [[0, 0], [3], [-1], []])
def test_a_selection_that_is_not_one_is_refused(index: list[int]) -> None:
    with pytest.raises(ValueError):
        Selection(weight(3, 2), 0, torch.tensor(index, dtype=torch.int64))


def test_what_cannot_be_trained_as_asked_is_refused() -> None:
    parameter = weight(3)
    for trained, options in (
        ([], {}),
        ([("a", parameter), ("b", parameter)], {}),
        ([("a", weight(3).requires_grad_(False))], {}),
        ([("a", parameter)], {"lr_scales": {"b": 2.0}}),
        ([("a", parameter)], {"betas": (0.9, 1.0)}),
    ):
        with pytest.raises(ValueError):
            MasterAdamW(trained, **options)  # type: ignore[arg-type]
