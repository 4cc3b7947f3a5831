"""Training a part of a weight: gradients equal to masked full training, nothing else touched, all of it undone."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers.pytorch_utils import Conv1D

from seatools.engine.loss import summed_loss, target_log_probs
from seatools.engine.rows import Batch, make_batch
from seatools.engine.selected import Selection, remove, select
from seatools.streams.errors import SeaError


def example(seed: int = 0, row_length: int = 16) -> Batch:
    generator = np.random.default_rng(seed)
    docs = [(generator.integers(3, 97, n), generator.integers(0, 2, n)) for n in (9, 6, 8, 1, 5)]
    return make_batch([docs[:2], docs[2:]], row_length)


def parts_of(model: Any) -> list[tuple[str, int, torch.Tensor]]:
    """Some of every Linear and Embedding: rows (one, in some), columns, bias entries, vocabulary rows."""
    chosen = []
    for name, _ in model.named_parameters():
        if "norm" in name or ".ln_" in name:
            continue
        if "embed" in name or "wte" in name or "lm_head.weight" in name:
            chosen.append((name, 0, torch.tensor([0, 5, 6, 50, 96])))  # 0 is the padding token
        elif "wpe" in name:
            chosen.append((name, 0, torch.tensor([0, 3])))
        elif "down_proj" in name or "o_proj" in name or "c_proj.weight" in name:
            chosen.append((name, 1, torch.tensor([2])))
        else:
            chosen.append((name, 0, torch.tensor([1, 4] if "bias" in name else [7])))
    return chosen


def full_gradients(model: Any, loss: Callable[[], torch.Tensor]) -> dict[str, torch.Tensor]:
    loss().backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    model.zero_grad()
    model.requires_grad_(False)
    return gradients


def check_equal(parts: list[tuple[str, Selection]], want: dict[str, torch.Tensor]) -> None:
    for name, part in parts:
        assert part.values.grad is not None and part.values.grad.any(), name
        assert torch.equal(part.values.grad, want[name].index_select(part.dim, part.index)), name


@pytest.mark.parametrize(
    ("family", "tie"),
    [("llama", True), ("llama", False), ("qwen2", True), ("gemma2", False), ("gemma3", True), ("phi", False),
     ("gpt2", True), ("phi3", False)],
)  # fmt: skip
def test_gradients_are_those_of_masked_full_training_to_the_bit(
    tiny_model: Callable[..., Any], family: str, tie: bool
) -> None:
    model, batch = tiny_model(family, tie_word_embeddings=tie), example()
    want = full_gradients(model, lambda: summed_loss(model, batch)[0] * 0.3)
    parts = select(model, parts_of(model))
    assert any(name.endswith(".bias") for name, _ in parts) == (family in ("qwen2", "phi", "gpt2"))
    (summed_loss(model, batch)[0] * 0.3).backward()
    check_equal(parts, want)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("tie", [True, False])
def test_log_probs_and_the_models_own_logits_feed_it_too(tiny_model: Callable[..., Any], tie: bool) -> None:
    for loss in (
        lambda model, batch: target_log_probs(model, batch, chunk_tokens=4).values.square().sum(),
        lambda model, batch: model(batch.input_ids).logits.square().mean(),
    ):
        model, batch = tiny_model("llama", tie_word_embeddings=tie), example()
        want = full_gradients(model, lambda m=model, b=batch, f=loss: f(m, b))
        parts = select(model, parts_of(model))
        loss(model, batch).backward()
        check_equal(parts, want)


def test_micro_batches_add_up_and_recomputation_changes_nothing(tiny_model: Callable[..., Any]) -> None:
    model = tiny_model("qwen2", tie_word_embeddings=True)
    batches = [example(seed) for seed in range(3)]

    def backward() -> None:
        for batch in batches:
            summed_loss(model, batch)[0].backward()

    backward()
    want = {name: parameter.grad for name, parameter in model.named_parameters()}
    model.requires_grad_(False)
    parts = select(model, parts_of(model))
    for recompute in (False, True):
        if recompute:
            model.gradient_checkpointing_enable({"use_reentrant": False})
            model.train()
        for _, part in parts:
            part.values.grad = None
        backward()
        check_equal(parts, want)


def conv1d(inputs: int, outputs: int) -> nn.Module:
    return Conv1D(outputs, inputs)


@pytest.mark.parametrize("tokens", [1, 7, 300, 768])
@pytest.mark.parametrize("k", [1, 2, 5, 33])
def test_shapes_of_products_do_not_matter(tokens: int, k: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, tokens, 96, generator=generator)
    y = torch.randn(1, tokens, 160, generator=generator)
    index = torch.arange(k) * 2
    for kind, dim in ((nn.Linear, 0), (nn.Linear, 1), (conv1d, 0), (conv1d, 1)):
        linear = kind(96, 160)
        linear(x).backward(y)
        assert linear.weight.grad is not None and linear.bias.grad is not None
        want = linear.weight.grad, linear.bias.grad
        parts = [("weight", dim, index), ("bias", 0, index)]
        rows, entries = (part for _, part in select(linear, parts))
        inputs = x.clone().requires_grad_()
        linear(inputs).backward(y)
        assert rows.values.grad is not None and entries.values.grad is not None
        assert torch.equal(rows.values.grad, want[0].index_select(dim, index))
        assert torch.equal(entries.values.grad, want[1].index_select(0, index))
        plain = x.clone().requires_grad_()
        remove(linear)
        linear(plain).backward(y)
        assert torch.equal(inputs.grad, plain.grad)


def test_more_tokens_than_one_block_of_the_product_agree_to_rounding() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(4096, 96, generator=generator), torch.randn(4096, 160, generator=generator)
    linear = nn.Linear(96, 160)
    linear(x).backward(y)
    want = linear.weight.grad
    assert want is not None
    [(_, part)] = select(linear, [("weight", 0, torch.arange(0, 160, 3))])
    linear(x).backward(y)
    torch.testing.assert_close(part.values.grad, want[::3], atol=5e-6 * float(want.abs().max()), rtol=0)


def test_bf16_gradients_are_products_in_fp32() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(300, 64, generator=generator).bfloat16()
    y = torch.randn(300, 48, generator=generator).bfloat16()
    index = torch.tensor([3, 20])
    for kind, dim in ((nn.Linear, 0), (nn.Linear, 1), (conv1d, 0), (conv1d, 1)):
        linear = kind(64, 48).bfloat16()
        parts = [part for _, part in select(linear, [("weight", dim, index), ("bias", 0, index)])]
        for _ in range(2):
            linear(x).backward(y)
        whole = y.float().t() @ x.float()
        whole = whole if kind is nn.Linear else whole.t()
        want = 2 * whole.index_select(dim, index), 2 * y.float().sum(0)[index]
        for part, expected in zip(parts, want, strict=True):
            assert part.values.grad is not None and part.values.grad.dtype == torch.float32
            torch.testing.assert_close(part.values.grad, expected, atol=1e-4, rtol=1e-5)
    table = nn.Embedding(10, 4).bfloat16()
    [(_, row)] = select(table, [("weight", 0, torch.tensor([3]))])
    table(torch.tensor([3] * 300 + [4])).backward(torch.full((301, 4), 1 + 2**-7).bfloat16())
    assert row.values.grad is not None and row.values.grad.tolist() == [[300 * (1 + 2**-7)] * 4]


def test_only_what_a_column_needs_of_the_input_is_kept() -> None:
    saved: list[tuple[int, ...]] = []
    x = torch.randn(20, 64)
    for kind, dim, shape in ((nn.Linear, 0, (20, 64)), (nn.Linear, 1, (20, 2)), (conv1d, 1, (20, 64)),
                             (conv1d, 0, (20, 2))):  # fmt: skip
        linear = kind(64, 48)
        saved.clear()
        select(linear, [("weight", dim, torch.tensor([3, 9])), ("bias", 0, torch.tensor([1]))])
        with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(tuple(t.shape)) or t, lambda t: t):
            linear(x)
        assert [size for size in saved if size[0] == 20] == [shape]


def test_no_backward_below_the_lowest_trained_layer(tiny_model: Callable[..., Any]) -> None:
    model = tiny_model("llama").requires_grad_(False)
    select(model, [("model.layers.1.mlp.up_proj.weight", 0, torch.tensor([3]))])
    wanted = []
    for layer in model.model.layers:
        layer.mlp.register_forward_hook(lambda _, args, out: wanted.append((args[0].requires_grad, out.requires_grad)))
    summed_loss(model, example())[0].backward()
    assert wanted == [(False, False), (False, True), (True, True)]


def test_the_masked_dense_gradient_is_never_made(
    tiny_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, shapes, real = tiny_model("llama", tie_word_embeddings=True).requires_grad_(False), [], torch.mm
    parts = [(name, dim, index) for name, dim, index in parts_of(model) if "mlp" in name or "embed" in name]

    def spy(a: torch.Tensor, b: torch.Tensor, **more: Any) -> torch.Tensor:
        out = real(a, b, **more)
        shapes.append(tuple(out.shape))
        return out

    select(model, parts)
    loss = summed_loss(model, example(row_length=20))[0]
    monkeypatch.setattr(torch, "mm", spy)
    loss.backward()
    assert (2, 32) in shapes and (32, 2) in shapes
    assert not {(48, 32), (32, 48), (97, 32)} & set(shapes)


def test_it_compiles_whole(tiny_model: Callable[..., Any]) -> None:
    model, batch = tiny_model("qwen2", tie_word_embeddings=True), example()
    want = full_gradients(model, lambda: summed_loss(model, batch)[0])
    parts = select(model, parts_of(model))
    for layer in model.model.layers:
        layer.mlp.compile(fullgraph=True, backend="aot_eager")
        layer.self_attn.q_proj.compile(fullgraph=True, backend="aot_eager")
    model.model.embed_tokens.compile(fullgraph=True, backend="aot_eager")
    summed_loss(model, batch)[0].backward()
    for name, part in parts:
        torch.testing.assert_close(
            part.values.grad, want[name].index_select(part.dim, part.index), atol=1e-5, rtol=1e-5
        )
    for name, part in parts:  # and sees the rounded update, without another compilation
        if "up_proj" in name:
            with torch.no_grad():
                part.values.add_(1.0)
            part.write_back()
    torch.compiler.set_stance("fail_on_recompile")
    try:
        moved = summed_loss(model, batch)[0]
    finally:
        torch.compiler.set_stance("default")
    plain = tiny_model("qwen2", tie_word_embeddings=True)
    before = summed_loss(plain, batch)[0]
    plain.load_state_dict(model.state_dict())
    torch.testing.assert_close(moved, summed_loss(plain, batch)[0])
    assert not torch.allclose(moved, before)


def test_writing_back_rounds_the_part_into_the_weight_and_touches_nothing_else() -> None:
    linear = nn.Linear(6, 5).bfloat16()
    before = linear.weight.detach().clone()
    [(_, part)] = select(linear, [("weight", 1, torch.tensor([1, 4]))])
    assert torch.equal(part.values, before[:, [1, 4]].float())
    with torch.no_grad():
        part.values.add_(0.123)
    part.write_back()
    assert torch.equal(linear.weight[:, [1, 4]], (before[:, [1, 4]].float() + 0.123).bfloat16())
    assert torch.equal(linear.weight[:, [0, 2, 3, 5]], before[:, [0, 2, 3, 5]])


def test_the_model_keeps_its_state_dict_and_gets_its_classes_back(tiny_model: Callable[..., Any]) -> None:
    model = tiny_model("gemma3", tie_word_embeddings=True).requires_grad_(False)
    classes, state = [type(module) for module in model.modules()], list(model.state_dict())
    parameters = [name for name, _ in model.named_parameters()]
    parts = select(model, parts_of(model))
    assert list(model.state_dict()) == state and [name for name, _ in model.named_parameters()] == parameters
    assert all(isinstance(module, kind) for module, kind in zip(model.modules(), classes, strict=True))
    twin = copy.deepcopy(model)
    summed_loss(twin, example())[0].backward()
    assert all(part.values.grad is None for _, part in parts)  # the copy has its own
    remove(model)
    assert [type(module) for module in model.modules()] == classes
    assert not any(hasattr(module, "_selected_parts") for module in model.modules())
    assert not summed_loss(model, example())[0].requires_grad
    assert [name for name, _ in select(model, parts_of(model))] == [name for name, _ in parts]


def test_the_bias_beside_a_selection_may_be_trained_whole_and_the_weight_beside_bias_entries() -> None:
    x, y = torch.randn(9, 6), torch.randn(9, 5)
    for parameter, other in (("weight", "bias"), ("bias", "weight")):
        linear = nn.Linear(6, 5)
        linear(x).backward(y)
        want = getattr(linear, other).grad
        linear.zero_grad()
        select(linear, [(parameter, 0, torch.tensor([1]))])
        linear(x).backward(y)
        torch.testing.assert_close(getattr(linear, other).grad, want)
        assert getattr(linear, parameter).grad is None


def test_gradients_go_through_a_recomputed_block() -> None:
    linear = nn.Linear(6, 5)
    [(_, part)] = select(linear, [("weight", 1, torch.tensor([1]))])
    x = torch.randn(9, 6)
    grads = []
    for run in (lambda: linear(x), lambda: checkpoint(linear, x, use_reentrant=False)):
        part.values.grad = None
        run().sum().backward()
        grads.append(part.values.grad)
    assert torch.equal(*grads)


@pytest.mark.parametrize("index", [[0, 0], [1, 0], [3], [-1], []])
def test_an_index_that_is_not_one_is_refused(index: list[int]) -> None:
    linear = nn.Linear(4, 3)
    with pytest.raises(ValueError, match="weight"):
        select(linear, [("bias", 0, torch.tensor([0])), ("weight", 0, torch.tensor(index, dtype=torch.int64))])
    assert type(linear) is nn.Linear and linear.bias.requires_grad


class Doubled(nn.Linear):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(input)


class Shifted(nn.Embedding):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(input) + 1


@pytest.mark.parametrize(
    ("module", "parts", "why"),
    [
        (Doubled(4, 3), [("weight", 0)], "belongs to a Doubled"),
        (Shifted(4, 3), [("weight", 0)], "Shifted does more"),
        (nn.Embedding(4, 3, max_norm=1.0), [("weight", 0)], "max_norm"),
        (nn.Embedding(4, 3), [("weight", 1)], "no columns"),
        (nn.LayerNorm(4), [("weight", 0)], "belongs to a LayerNorm"),
        (nn.Linear(4, 3), [("weights", 0)], 'no parameter "weights"'),
        (nn.Linear(4, 3), [("weight", 0), ("weight", 1)], "chosen twice"),
    ],
)
def test_what_cannot_be_trained_in_part_is_refused_by_name(
    module: nn.Module, parts: list[tuple[str, int]], why: str
) -> None:
    kind = type(module)
    with pytest.raises(SeaError, match=why):
        select(module, [(name, dim, torch.tensor([0])) for name, dim in parts])
    assert type(module) is kind and all(parameter.requires_grad for parameter in module.parameters())


def test_a_second_choice_of_the_same_weight_is_refused_also_of_a_tied_one(tiny_model: Callable[..., Any]) -> None:
    model = tiny_model("llama", tie_word_embeddings=True)
    rows = torch.tensor([5])
    with pytest.raises(SeaError, match="chosen twice"):
        select(model, [("model.embed_tokens.weight", 0, rows), ("lm_head.weight", 0, rows)])
    [(name, _)] = select(model, [("lm_head.weight", 0, rows)])
    assert name == "model.embed_tokens.weight"
    with pytest.raises(SeaError, match="chosen twice"):
        select(model, [("model.embed_tokens.weight", 0, rows)])


def test_columns_of_the_output_head_are_refused(tiny_model: Callable[..., Any]) -> None:
    model = tiny_model("llama", tie_word_embeddings=False)
    select(model, [("lm_head.weight", 1, torch.tensor([0]))])
    with pytest.raises(SeaError, match=r"lm_head\.weight: the output head has rows"):
        summed_loss(model, example())


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_gives_what_the_cpu_gives_in_bf16(tiny_model: Callable[..., Any]) -> None:
    results = []
    for device in ("cpu", "cuda"):
        model = tiny_model("gemma3", dtype=torch.bfloat16, tie_word_embeddings=True).to(device).requires_grad_(False)
        parts = select(model, parts_of(model))
        for _ in range(2):
            summed_loss(model, example().to(torch.device(device)))[0].backward()
        results.append({name: part.values.grad.cpu() for name, part in parts if part.values.grad is not None})
    for name, want in results[0].items():
        assert results[1][name].dtype == torch.float32
        torch.testing.assert_close(results[1][name], want, atol=5e-2 * float(want.abs().max()), rtol=5e-2)
