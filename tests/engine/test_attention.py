"""Attention inside documents without a mask: against the definition, and against sdpa in whole models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from seatools.engine import attention
from seatools.engine.attention import Documents, can_keep_apart, document_attention, documents_apart
from seatools.engine.generate import SamplingOptions, generate
from seatools.engine.loss import forward_hidden, summed_loss
from seatools.engine.rows import Batch, make_batch

attention.register()
FAMILIES = ["llama", "qwen2", "qwen3", "mistral", "mistral-sliding", "gemma3"]
LENGTHS = [[20, 7, 1, 30], [64], [3, 40]]  # of the documents in rows of 64


def packed(lengths: list[list[int]], width: int, seed: int = 0) -> Batch:
    random = np.random.default_rng(seed)
    return make_batch([[(random.integers(3, 97, n), np.ones(n)) for n in row] for row in lengths], width)


def by_definition(query: Tensor, key: Tensor, value: Tensor, batch: Batch, window: int, scale: float) -> Tensor:
    """softmax(scale q k^T) v over the tokens of the same document, no later ones, `window` of them; [B, T, H, d]."""
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    document = (batch.position_ids == 0).cumsum(1)
    place = torch.arange(query.shape[2])
    back = place[:, None] - place
    seen = (document[:, :, None] == document[:, None]) & (back >= 0) & (back < (window or len(place)))
    scores = (scale * query @ key.transpose(-1, -2)).masked_fill(~seen[:, None], float("-inf"))
    return (scores.softmax(-1) @ value).transpose(1, 2)


@pytest.mark.parametrize(
    ("lengths", "width", "window"),
    [
        (LENGTHS, 64, 0),
        (LENGTHS, 64, 1),
        (LENGTHS, 64, 6),
        (LENGTHS, 64, 64),
        ([[64], [64]], 64, 0),  # one document a row: a single call
        ([[300, 90]], 400, 5),  # documents longer than one block of queries
        ([[90, 300]], 400, 150),
    ],
)
@pytest.mark.parametrize("kv_heads", [4, 2])
def test_outputs_and_gradients_are_those_of_the_definition(
    lengths: list[list[int]], width: int, window: int, kv_heads: int
) -> None:
    batch = packed(lengths, width)
    generator = torch.Generator().manual_seed(0)
    shapes = [(len(lengths), heads, width, 8) for heads in (4, kv_heads, kv_heads)]
    operands = [torch.randn(s, generator=generator, dtype=torch.float64, requires_grad=True) for s in shapes]
    found = document_attention(*operands, Documents(batch.flat_starts(), window), 0.3)
    wanted = by_definition(*operands, batch, window, 0.3)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    upstream = torch.randn(wanted.shape, generator=generator, dtype=torch.float64)
    for one, two in zip(*(torch.autograd.grad(y, operands, upstream) for y in (found, wanted)), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("lengths", "window"), [(LENGTHS, 0), (LENGTHS, 6), ([[64]] * 3, 0)])
def test_the_operator_is_fit_for_compilation(lengths: list[list[int]], window: int) -> None:
    """Its shapes and strides are those that it promises, also where one call does for all rows."""
    operands = (torch.randn(3, 64, heads, 8).transpose(1, 2) for heads in (4, 2, 2))
    query, key, value = (x.requires_grad_() for x in operands)
    arguments = (query, key, value, packed(lengths, 64).flat_starts(), None, window, 0.3)
    torch.library.opcheck(torch.ops.sea.document_attention.default, arguments)
    made = [torch.ops.sea.document_attention(*arguments)]
    with torch.no_grad():
        made.append(torch.ops.sea.document_attention_backward(made[0][0], *arguments[:3], *made[0], *arguments[3:]))
    assert all(x.is_contiguous() for outputs in made for x in outputs)


@pytest.mark.parametrize("ends", [[0, 64, 100], [0, 70, 128], [1, 64, 128]])
def test_documents_that_do_not_fit_the_rows_are_refused(ends: list[int]) -> None:
    query = torch.randn(2, 4, 64, 8)
    with pytest.raises(ValueError, match="end"):
        document_attention(query, query, query, Documents(torch.tensor(ends, dtype=torch.int32), 0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", FAMILIES)
def test_models_give_what_they_give_with_masks(
    tiny_model: Callable[..., Any], family: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = packed(LENGTHS, 64)
    found = {}
    for name in ("sdpa", "sea_varlen"):
        model = tiny_model(family, dtype, attention=name)
        if name == "sea_varlen":  # and no mask is made
            monkeypatch.setattr("transformers.masking_utils.sdpa_mask", lambda **_: pytest.fail("a mask"))
        hidden = forward_hidden(model, batch)
        loss, _ = summed_loss(model, batch)
        loss.backward()
        found[name] = [hidden, loss, *(parameter.grad for parameter in model.parameters())]
    for one, two in zip(*found.values(), strict=True):
        assert (one - two).norm() <= (2e-6 if dtype == torch.float32 else 0.06) * two.norm()


def test_without_documents_it_is_sdpa_and_so_in_generation(tiny_model: Callable[..., Any]) -> None:
    models = [tiny_model("gemma3", attention=name) for name in ("sdpa", "sea_varlen")]
    batch = packed(LENGTHS, 64)
    one, two = (model.model(input_ids=batch.input_ids, position_ids=batch.position_ids)[0] for model in models)
    assert torch.equal(one, two)
    prompts, options = [[5, 6, 7, 8, 9, 10], [11, 12]], SamplingOptions(max_new_tokens=6, temperature=0)
    first, second = (generate(model, prompts, options, seeds=[0, 0]) for model in models)
    assert first == second


def test_a_batch_without_starts_has_them_in_its_positions(tiny_model: Callable[..., Any]) -> None:
    batch, model = packed(LENGTHS, 64), tiny_model("llama", attention="sea_varlen")
    bare = Batch(batch.input_ids, batch.position_ids, batch.loss_mask)
    assert bare.flat_starts().tolist() == sorted(set(batch.flat_starts().tolist()))
    assert torch.equal(forward_hidden(model, bare), forward_hidden(model, batch))


def test_what_it_cannot_do_is_refused(tiny_model: Callable[..., Any]) -> None:
    batch = packed(LENGTHS, 64)
    assert not can_keep_apart(tiny_model("gemma2"))
    with pytest.raises(NotImplementedError, match="softcap"):
        forward_hidden(tiny_model("gemma2", attention="sea_varlen"), batch)
    with pytest.raises(NotImplementedError, match="dropout"):
        forward_hidden(tiny_model("phi", attention="sea_varlen", attention_dropout=0.5).train(), batch)
    chunked = tiny_model("llama", layer_types=["chunked_attention"] * 3)
    assert not can_keep_apart(chunked)


def test_flash_attention_is_given_the_lengths(tiny_model: Callable[..., Any]) -> None:
    """A stand-in for the kernels, which run on a GPU only: it takes the names and the layout of transformers' own."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import flash_attention_mask

    seen: list[dict[str, Any]] = []

    def flash(module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Any, **given: Any) -> tuple[Tensor, None]:
        seen.append({name: given[name] for name in given if name.startswith(("cu_seq_lens", "max_length"))})
        documents = Documents(given["cu_seq_lens_q"], given.get("sliding_window") or 0)
        assert mask is None
        return document_attention(query, key, value, documents, given["scaling"]), None

    AttentionInterface.register("kernels-community/stand-in", flash)
    AttentionMaskInterface.register("kernels-community/stand-in", flash_attention_mask)
    batch = packed(LENGTHS, 64)
    model = tiny_model("mistral-sliding", attention="sdpa")
    wanted = forward_hidden(model, batch)
    model.config._attn_implementation = "kernels-community/stand-in"
    torch.testing.assert_close(forward_hidden(model, batch), wanted, rtol=1e-4, atol=1e-5)
    assert len(seen) == 3
    for given in seen:
        assert torch.equal(given["cu_seq_lens_q"], batch.flat_starts())
        assert given["cu_seq_lens_k"] is given["cu_seq_lens_q"]
        assert (given["max_length_q"], given["max_length_k"]) == (64, 64)


def test_the_documents_are_forgotten_when_the_pass_is_over(tiny_model: Callable[..., Any]) -> None:
    model, batch = tiny_model("llama", attention="sea_varlen"), packed(LENGTHS, 64)
    with pytest.raises(ZeroDivisionError), documents_apart(model, batch):
        raise ZeroDivisionError
    ids = torch.arange(3, 13)[None]
    alone = tiny_model("llama", attention="sdpa")(input_ids=ids).logits
    assert torch.equal(model(input_ids=ids).logits, alone)


def test_torchs_varlen_attention_takes_what_it_is_given() -> None:
    """Without a GPU the call cannot be made; that it fits the function can be seen."""
    import inspect

    from torch.nn.attention.varlen import varlen_attn

    tensors, width = [torch.empty(0)] * 5, 8
    more = {"scale": 0.1, "window_size": (-1, 0), "enable_gqa": True}
    try:
        inspect.signature(varlen_attn).bind(*tensors, width, width, **more)
    except TypeError:  # torch 2.11
        assert not attention._has_kernel(torch.bfloat16)
    else:
        assert attention._has_kernel(torch.bfloat16) and not attention._has_kernel(torch.float32)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("window", [0, 6])
def test_cuda_gives_what_the_cpu_gives(window: int) -> None:
    batch = packed(LENGTHS, 64)
    generator = torch.Generator().manual_seed(0)
    operands = [torch.randn(3, heads, 64, 64, generator=generator).bfloat16() for heads in (4, 2, 2)]
    found = []
    for device in ("cpu", "cuda"):
        there = [x.to(device).requires_grad_() for x in operands]
        out = document_attention(*there, Documents(batch.flat_starts().to(device), window))
        found.append([out, *torch.autograd.grad(out.square().sum(), there)])
    for one, two in zip(*found, strict=True):
        assert (one - two.cpu()).norm() <= 0.02 * one.norm()
