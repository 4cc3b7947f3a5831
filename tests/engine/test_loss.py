"""The chunked loss against full logits, values and gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from seatools.engine import loss
from seatools.engine.loss import (
    Head,
    batch_loss,
    head_of,
    linear_log_probs,
    linear_loss,
    summed_loss,
    target_log_probs,
)
from seatools.engine.rows import Batch, make_batch
from seatools.engine.selected import remove, select
from seatools.streams.errors import SeaError


def example() -> Batch:
    generator = np.random.default_rng(0)
    docs = [(generator.integers(3, 97, n), generator.integers(0, 2, n)) for n in (9, 6, 8, 1, 5)]
    return make_batch([docs[:2], docs[2:]], row_length=16)


def full_logits_log_probs(model: Any, batch: Batch) -> torch.Tensor:
    """The oracle: the model's own logits for all positions, in one piece."""
    logits = model(input_ids=batch.input_ids, position_ids=batch.position_ids, use_cache=False).logits.float()
    log_probs = -F.cross_entropy(logits[:, :-1].transpose(1, 2), batch.input_ids[:, 1:], reduction="none")
    return log_probs[batch.loss_mask[:, 1:]]


@pytest.mark.parametrize("chunk_tokens", [1, 5, 1000])
@pytest.mark.parametrize(
    ("family", "tie"),
    [*((family, tie) for family in ("llama", "gemma2", "cohere", "granite") for tie in (True, False)), ("phi", False)],
)
def test_values_and_gradients_are_those_of_full_logits(
    tiny_model: Callable[..., Any], family: str, tie: bool, chunk_tokens: int
) -> None:
    model, batch = tiny_model(family, tie_word_embeddings=tie), example()
    upstream = torch.randn(int(batch.loss_mask.sum()), generator=torch.Generator().manual_seed(1))
    want = full_logits_log_probs(model, batch)
    (want * upstream).sum().backward()
    want_grads = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    got = target_log_probs(model, batch, chunk_tokens=chunk_tokens)
    (got.values * upstream).sum().backward()
    assert got.values.dtype == torch.float32
    torch.testing.assert_close(got.values, want, atol=1e-5, rtol=1e-5)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(
            parameter.grad, want_grads[name], atol=2e-4, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("chunk_tokens", [1, 5, 1000])
@pytest.mark.parametrize(("family", "tie"), [("llama", True), ("gemma2", False), ("cohere", True), ("phi", False)])
def test_the_summed_loss_has_their_gradients_too(
    tiny_model: Callable[..., Any], family: str, tie: bool, chunk_tokens: int
) -> None:
    model, batch = tiny_model(family, tie_word_embeddings=tie), example()
    want = -full_logits_log_probs(model, batch).sum()
    (want * 0.3).backward()
    want_grads = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    got, _ = summed_loss(model, batch, chunk_tokens=chunk_tokens)
    (got * 0.3).backward()
    torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(
            parameter.grad, want_grads[name], atol=2e-4, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_the_summed_loss_takes_three_products_and_one_where_no_gradient_is_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generator = torch.Generator().manual_seed(0)
    hidden, weight = (torch.randn(size, generator=generator).requires_grad_() for size in ((6, 4), (9, 4)))
    targets, products = torch.tensor([0, 8, 3, 3, 1, 2]), []
    for name in ("mm", "addmm_"):
        owner = torch if name == "mm" else torch.Tensor
        real = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *x, real=real, **y: products.append(1) or real(*x, **y))
    loss = linear_loss(hidden, targets, Head(weight, None, 1.0, None))
    loss.backward()
    assert len(products) == 3
    with pytest.raises(RuntimeError, match="taken once"):
        loss.backward()
    with torch.no_grad():
        again = linear_loss(hidden, targets, Head(weight, None, 1.0, None))
    assert len(products) == 4 and not again.requires_grad and float(again) == float(loss.detach())


def test_logits_too_large_for_exp_do_no_harm() -> None:
    hidden, weight = torch.tensor([[400.0]]), torch.tensor([[1.0], [0.5], [-1.0]]).requires_grad_()
    loss = linear_loss(hidden, torch.tensor([1]), Head(weight, None, 1.0, None))
    loss.backward()
    assert float(loss.detach()) == 200.0 and weight.grad.tolist() == [[400.0], [-400.0], [0.0]]


def test_each_value_belongs_to_its_row_and_column(tiny_model: Callable[..., Any]) -> None:
    batch = example()
    got = target_log_probs(tiny_model(), batch)
    assert torch.stack([got.row, got.column], 1).tolist() == batch.loss_mask.nonzero().tolist()


def test_the_first_token_of_a_document_never_counts_even_if_the_mask_says_so(tiny_model: Callable[..., Any]) -> None:
    batch = example()
    everything = Batch(batch.input_ids, batch.position_ids, torch.ones_like(batch.loss_mask))
    assert len(target_log_probs(tiny_model(), everything).values) == int((batch.position_ids > 0).sum())


def test_summed_loss_is_the_sum_of_cross_entropies_and_adds_over_batches(tiny_model: Callable[..., Any]) -> None:
    model, batch = tiny_model(), example()
    total, num_targets = summed_loss(model, batch)
    assert num_targets == int(batch.loss_mask.sum())
    torch.testing.assert_close(total, -full_logits_log_probs(model, batch).sum())
    tensors = (batch.input_ids, batch.position_ids, batch.loss_mask, batch.starts)
    parts = [summed_loss(model, Batch(*(x[i : i + 1] for x in tensors))) for i in (0, 1)]
    torch.testing.assert_close(sum(part[0] for part in parts), total)


@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_the_loss_of_a_batch_comes_with_that_of_each_target(tiny_model: Callable[..., Any], family: str) -> None:
    model, batch = tiny_model(family), example()
    want = -full_logits_log_probs(model, batch)
    got = batch_loss(model, batch, chunk_tokens=4)
    torch.testing.assert_close(got.nll, want.detach(), atol=1e-5, rtol=1e-5)
    assert got.nll.dtype == torch.float32 and not got.nll.requires_grad
    assert torch.stack([got.row, got.column], 1).tolist() == batch.loss_mask.nonzero().tolist()
    assert got.total.requires_grad and torch.equal(got.total.detach(), got.nll.sum())
    with torch.no_grad():
        assert torch.equal(batch_loss(model, batch, chunk_tokens=4).nll, got.nll)


def test_of_a_head_with_selected_rows_only_those_are_multiplied(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: list[tuple[int, ...]] = []
    real = torch.Tensor.addmm_
    monkeypatch.setattr(torch.Tensor, "addmm_", lambda own, a, b: shapes.append(tuple(a.shape)) or real(own, a, b))
    generator = torch.Generator().manual_seed(0)
    hidden, targets = torch.randn(40, 8, generator=generator), torch.randint(0, 30, (40,), generator=generator)
    linear = torch.nn.Linear(8, 30)
    rows, entries = torch.tensor([3, 7, 29]), torch.tensor([0, 29])
    for function in (linear_loss, lambda *x, **y: linear_log_probs(*x, **y).sum()):
        linear.requires_grad_(True)
        whole = Head(linear.weight, linear.bias, 0.7, 3.0)
        function(hidden, targets, whole, chunk_tokens=16).backward()
        assert linear.weight.grad is not None and linear.bias.grad is not None
        want = linear.weight.grad[rows], linear.bias.grad[entries]
        linear.zero_grad()
        (_, weight), (_, bias) = select(linear, [("weight", 0, rows), ("bias", 0, entries)])
        shapes.clear()
        head = Head(linear.weight, linear.bias, 0.7, 3.0, weight, bias)
        function(hidden, targets, head, chunk_tokens=16).backward()
        assert shapes == [(3, 16), (3, 16), (3, 8)]
        assert weight.values.grad is not None and bias.values.grad is not None
        assert torch.equal(weight.values.grad, want[0]) and torch.equal(bias.values.grad, want[1])
        assert linear.weight.grad is None and linear.bias.grad is None
        remove(linear)


def test_no_targets_give_loss_zero_and_gradients_zero(tiny_model: Callable[..., Any]) -> None:
    model = tiny_model()
    total, num_targets = summed_loss(model, make_batch([[([5, 6, 7], [0, 0, 0])]]))
    total.backward()
    assert (float(total.detach()), num_targets) == (0.0, 0)
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())


def test_only_targets_reach_the_head_and_in_chunks(
    tiny_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, batch, shapes, real = tiny_model(), example(), [], loss.chunk_logits

    def spy(*args: Any) -> torch.Tensor:
        logits = real(*args)
        shapes.append(logits.shape[0])
        return logits

    monkeypatch.setattr(loss, "chunk_logits", spy)
    with torch.no_grad():
        target_log_probs(model, batch, chunk_tokens=4)
    assert sum(shapes) == int(batch.loss_mask.sum()) < batch.input_ids.numel()
    assert max(shapes) == 4


@pytest.mark.parametrize(("kept", "products_wanted"), [(0, 2), (1 << 20, 1)])
def test_a_frozen_head_gets_no_gradient_and_costs_no_product_for_it(
    tiny_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, kept: int, products_wanted: int
) -> None:
    monkeypatch.setattr(loss, "KEPT_ELEMENTS_CPU", kept)
    model, batch, products, real = tiny_model(tie_word_embeddings=False), example(), [], loss._matmul
    model.lm_head.weight.requires_grad_(False)
    monkeypatch.setattr(loss, "_matmul", lambda a, b: products.append(b.shape) or real(a, b))
    want = torch.autograd.grad(full_logits_log_probs(model, batch).sum(), model.model.norm.weight)[0]
    target_log_probs(model, batch).values.sum().backward()
    assert model.lm_head.weight.grad is None
    torch.testing.assert_close(model.model.norm.weight.grad, want, atol=1e-4, rtol=1e-4)
    # logits in the forward and, if they were not kept, again in the backward, nothing else
    assert products == [(32, 97)] * products_wanted


@pytest.mark.parametrize("family", ["llama", "gemma2", "phi", "granite"])
def test_what_is_kept_and_where_gradients_go_changes_nothing(
    tiny_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    batch, found = example(), []
    for kept, in_place in ((0, False), (7 * 97, False), (1 << 20, True)):  # nothing, one chunk, all
        monkeypatch.setattr(loss, "KEPT_ELEMENTS_CPU", kept)
        model = tiny_model(family)
        values = target_log_probs(model, batch, chunk_tokens=7, in_place=in_place).values
        (values * torch.linspace(-1, 1, len(values))).sum().backward()
        found.append([values, *(p.grad for p in model.parameters())])
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            torch.testing.assert_close(two, one, rtol=1e-5, atol=3e-6)


def test_a_second_backward_pass_has_the_gradients_of_the_first(tiny_model: Callable[..., Any]) -> None:
    """Also where the chunks that were kept are used up."""
    model, batch = tiny_model(), example()
    total = target_log_probs(model, batch).values.square().sum()
    first, second = (torch.autograd.grad(total, model.model.norm.weight, retain_graph=True)[0] for _ in range(2))
    torch.testing.assert_close(first, second)


def test_bf16_heads_are_computed_and_summed_in_fp32() -> None:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(300, 64, generator=generator).bfloat16().requires_grad_()
    weight = (torch.randn(50, 64, generator=generator) * 0.3).bfloat16().requires_grad_()
    targets = torch.randint(0, 50, (300,), generator=generator)
    values = linear_log_probs(hidden, targets, Head(weight, None, 1.0, None), chunk_tokens=7)
    values.sum().backward()
    hidden32, weight32 = (x.detach().float().requires_grad_() for x in (hidden, weight))
    want = -F.cross_entropy(hidden32 @ weight32.t(), targets, reduction="none")
    want.sum().backward()
    torch.testing.assert_close(values, want, atol=1e-5, rtol=1e-5)
    # equal to the fp32 gradient rounded once: nothing was rounded on the way
    assert (weight.grad != weight32.grad.bfloat16()).float().mean() < 0.01
    assert (hidden.grad != hidden32.grad.bfloat16()).float().mean() < 0.01


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_gives_what_the_cpu_gives_in_bf16() -> None:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(300, 64, generator=generator).bfloat16()
    weight = (torch.randn(56, 64, generator=generator) * 0.3).bfloat16()
    targets = torch.randint(0, 56, (300,), generator=generator)
    results = []
    for device in ("cpu", "cuda"):
        h, w = (x.detach().to(device).requires_grad_() for x in (hidden, weight))
        values = linear_log_probs(h, targets.to(device), Head(w, None, 1.0, 30.0), chunk_tokens=64)
        values.sum().backward()
        assert h.grad is not None and w.grad is not None
        results.append([x.detach().float().cpu() for x in (values, h.grad, w.grad)])
    torch.testing.assert_close(results[1][0], results[0][0], atol=1e-4, rtol=1e-4)
    for got, want in zip(results[1][1:], results[0][1:], strict=True):
        torch.testing.assert_close(got, want, atol=2e-2 * float(want.abs().max()), rtol=2e-2)


def test_bias_scale_and_softcap_together_have_the_gradients_of_autograd() -> None:
    generator = torch.Generator().manual_seed(0)
    sizes, targets = ((5, 4), (7, 4), (7,)), torch.tensor([0, 6, 3, 3, 1])
    ours = [torch.randn(size, generator=generator).requires_grad_() for size in sizes]
    plain = [x.detach().clone().requires_grad_() for x in ours]
    upstream = torch.randn(5, generator=generator)
    got = linear_log_probs(ours[0], targets, Head(ours[1], ours[2], 0.7, 3.0), chunk_tokens=2)
    y = 3.0 * torch.tanh(0.7 * (plain[0] @ plain[1].t() + plain[2]) / 3.0)
    want = y.log_softmax(-1)[torch.arange(5), targets]
    torch.testing.assert_close(got, want)
    (got * upstream).sum().backward()
    (want * upstream).sum().backward()
    for a, b in zip(ours, plain, strict=True):
        torch.testing.assert_close(a.grad, b.grad)


def test_a_head_that_is_not_linear_is_refused(tiny_model: Callable[..., Any]) -> None:
    model = tiny_model()
    model.set_output_embeddings(torch.nn.Sequential(model.lm_head))
    with pytest.raises(SeaError, match="LlamaForCausalLM: its output head is Sequential"):
        head_of(model)
