"""Two answers with their prompt computed once: what it gives apart, by definition, in every family that can do it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_families import FAMILIES, VOCABULARY, tiny

from seatools.engine.answer_log_probs import (
    AnswerPair,
    answer_log_probs,
    can_share_prompts,
    num_computed,
    shared_row,
)
from seatools.engine.attention import NAME, Documents, document_attention, register
from seatools.engine.loss import forward_hidden
from seatools.engine.recompute import recompute_blocks
from seatools.engine.rows import Batch

register()
SIZES = [(9, 4, 7), (1, 5, 2), (0, 6, 8), (14, 1, 1), (3, 12, 5)]  # prompt, chosen, rejected
SHARING = [family for family in (*FAMILIES, "phi3", "gpt2", "mixtral") if family != "gemma2"]


def pair_of(prompt: int, chosen: int, rejected: int, seed: int = 0) -> AnswerPair:
    draw = np.random.default_rng(seed)
    begin = draw.integers(3, VOCABULARY, prompt)

    def answer(length: int) -> tuple[np.ndarray, np.ndarray]:
        mask = np.concatenate([np.zeros(prompt), draw.random(length) < 0.8]).astype(np.uint8)
        mask[-1] = 1
        return np.concatenate([begin, draw.integers(3, VOCABULARY, length)]).astype(np.uint32), mask

    return AnswerPair(answer(chosen), answer(rejected), prompt)


def pairs_of(sizes: list[tuple[int, int, int]]) -> list[AnswerPair]:
    return [pair_of(*size, seed=seed) for seed, size in enumerate(sizes)]


def plain(model: Any, pairs: list[AnswerPair]) -> torch.Tensor:
    """[n, 2] log-probabilities from the model's own logits of each answer alone."""

    def of(document: tuple[np.ndarray, np.ndarray]) -> torch.Tensor:
        ids = torch.from_numpy(document[0].astype(np.int64))[None]
        logits = model(input_ids=ids, use_cache=False).logits[0, :-1]
        found = logits.log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
        return (found * torch.from_numpy(document[1][1:])).sum()

    return torch.stack([torch.stack([of(pair.chosen), of(pair.rejected)]) for pair in pairs])


def weights(pairs: list[AnswerPair]) -> torch.Tensor:
    return torch.linspace(-1, 1, 2 * len(pairs)).view(-1, 2) + 0.1


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("family", SHARING)
def test_values_and_gradients_are_those_of_the_plain_computation(family: str, share: bool) -> None:
    pairs, found = pairs_of(SIZES), {}
    for ours in (True, False):
        model = tiny(family, torch.float64, attention=NAME if ours else "sdpa")
        if ours:
            out = answer_log_probs(model, pairs, 0, share_prompt=share)
            values = torch.stack(out[:2], 1)
        else:
            values = plain(model, pairs)
        (values * weights(pairs)).sum().backward()
        found[ours] = [values, *(p.grad for p in model.parameters())]
    for one, two in zip(found[True], found[False], strict=True):
        if two is None:
            assert one is None
            continue
        # the sum of log-probabilities is made in fp32
        assert (one - two).norm() <= 1e-5 * (1e-3 + two.norm()), family


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(*(st.integers(low, 20) for low in (0, 1, 1))), min_size=1, max_size=4), st.integers(1, 9))
def test_any_lengths_and_windows(sizes: list[tuple[int, int, int]], window: int) -> None:
    model = tiny("mistral-sliding", attention=NAME, sliding_window=window)
    pairs = pairs_of(sizes)
    shared, apart = (torch.stack(answer_log_probs(model, pairs, 0, share_prompt=share)[:2]) for share in (True, False))
    torch.testing.assert_close(shared, apart, rtol=1e-5, atol=1e-5)


def by_definition(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, batch: Batch, window: int) -> Any:
    """Attention of a row by its `seen`: a mask made token by token."""
    assert batch.continued is not None and batch.starts is not None
    starts, (prompts, _, _) = batch.starts[0].tolist(), batch.continued
    width = query.shape[2]
    seen = torch.zeros(width, width, dtype=torch.bool)
    positions = batch.position_ids[0].tolist()
    for document, prompt in enumerate(prompts.tolist()):
        first, end = starts[document], starts[document + 1]
        keys = [*range(starts[document - 1], starts[document - 1] + prompt), *range(first, end)]
        for q in range(first, end):
            for k in keys:
                back = positions[q] - positions[k]
                seen[q, k] = 0 <= back < (window or width) and (k < first or k <= q)
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    scores = (0.3 * query @ key.transpose(-1, -2)).masked_fill(~seen, float("-inf"))
    return (scores.softmax(-1) @ value).transpose(1, 2)


@pytest.mark.parametrize("window", [0, 1, 2, 5, 11, 40])
def test_attention_is_that_of_its_definition(window: int) -> None:
    batch, _ = shared_row(pairs_of(SIZES))
    width = batch.input_ids.shape[1]
    generator = torch.Generator().manual_seed(0)
    operands = [
        torch.randn(1, heads, width, 8, generator=generator, dtype=torch.float64, requires_grad=True)
        for heads in (4, 2, 2)
    ]
    found = document_attention(*operands, Documents(batch.flat_starts(), window, batch.continued), 0.3)
    wanted = by_definition(*operands, batch, window)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    upstream = torch.randn(wanted.shape, generator=generator, dtype=torch.float64)
    for one, two in zip(*(torch.autograd.grad(y, operands, upstream) for y in (found, wanted)), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-12)


def test_the_operator_with_shared_prompts_is_fit_for_compilation() -> None:
    batch, _ = shared_row(pairs_of(SIZES))
    assert batch.continued is not None
    width = batch.input_ids.shape[1]
    query, key, value = (torch.randn(1, width, heads, 8).transpose(1, 2).requires_grad_() for heads in (4, 2, 2))
    arguments = (query, key, value, batch.flat_starts(), batch.continued.prompts, 0, 0.3)
    torch.library.opcheck(torch.ops.sea.document_attention.default, arguments)


def test_a_row_has_each_prompt_once_and_says_where_its_keys_are() -> None:
    pairs = pairs_of([(5, 2, 3), (0, 4, 1)])
    batch, owners = shared_row(pairs)
    assert batch.input_ids.shape == (1, sum(num_computed(pair, share_prompt=True) for pair in pairs)) == (1, 16)
    assert batch.position_ids.tolist() == [[0, 1, 2, 3, 4, 5, 6, 4, 5, 6, 7, 0, 1, 2, 3, 0]]
    assert owners.tolist() == [0] * 7 + [1] * 4 + [2] * 4 + [3]
    assert batch.continued is not None
    prompts, seen, seen_starts = (x.tolist() for x in batch.continued)
    assert prompts == [0, 4, 0, 0]
    assert [seen[a:b] for a, b in zip(seen_starts, seen_starts[1:], strict=False)] == [
        [*range(7)], [0, 1, 2, 3, 7, 8, 9, 10], [11, 12, 13, 14], [15],
    ]  # fmt: skip
    keys = batch.position_ids[0][batch.continued.seen].tolist()
    assert keys == [*range(7), *range(8), *range(4), 0]


def test_sharing_survives_recomputation_and_no_gradients() -> None:
    pairs, found = pairs_of(SIZES), []
    for how in ("none", "selective", "full"):
        model = tiny("llama", attention=NAME)
        recompute_blocks(model, how)
        out = answer_log_probs(model, pairs, 0, share_prompt=True)
        (torch.stack(out[:2], 1) * weights(pairs)).sum().backward()
        found.append([out.chosen, *(p.grad for p in model.parameters())])
    assert all(torch.equal(x, y) for other in found[1:] for x, y in zip(found[0], other, strict=True))
    with torch.no_grad():
        again = answer_log_probs(model, pairs, 0, share_prompt=True)
    torch.testing.assert_close(again.rejected, out.rejected.detach())
    assert again.chosen_tokens.tolist() == [float(pair.chosen[1].sum() - pair.chosen[1][0]) for pair in pairs]


def test_models_that_cannot_share_say_why() -> None:
    assert [can_share_prompts(tiny(family, attention=NAME)) for family in SHARING] == [None] * len(SHARING)
    assert can_share_prompts(tiny("llama", torch.bfloat16, attention=NAME)) is None
    assert "sdpa" in str(can_share_prompts(tiny("llama", attention="sdpa")))
    assert "softcap" in str(can_share_prompts(tiny("gemma2", attention=NAME)))
    model = tiny("llama", attention=NAME)
    forward = model.model.forward
    # turning positions need no restart for documents that stand apart, so only shared prompts betray this one
    model.model.forward = lambda position_ids=None, **named: forward(**named)
    assert "off by" in str(can_share_prompts(model))


def test_a_row_with_shared_prompts_is_refused_where_the_attention_does_not_know_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batch, _ = shared_row(pairs_of(SIZES))
    with pytest.raises(NotImplementedError, match="sdpa"):
        forward_hidden(tiny("llama", attention="sdpa"), batch)
    monkeypatch.setattr(torch.Tensor, "is_cuda", False)
    model = tiny("llama", attention=NAME)
    config: Any = model.config
    config.sliding_window = None
    monkeypatch.setattr(
        "transformers.models.llama.modeling_llama.create_causal_mask",
        _with_mask(__import__("transformers").masking_utils.create_causal_mask),
    )
    with pytest.raises(NotImplementedError, match="no kernel for shared prompts"):
        forward_hidden(model, batch)


def _with_mask(make: Callable[..., Any]) -> Callable[..., Any]:
    """As for an architecture that makes a mask of its own."""

    def masked(**arguments: Any) -> Any:
        width = arguments["inputs_embeds"].shape[1]
        return make(**{**arguments, "attention_mask": torch.ones(1, width, dtype=torch.int64)})

    return masked


@pytest.mark.parametrize("change", ["token", "mask"])
def test_pairs_that_share_less_than_they_say_are_refused(change: str) -> None:
    pair = pair_of(5, 3, 3)
    ids, mask = pair.rejected
    (ids if change == "token" else mask)[2] = 1
    with pytest.raises(ValueError, match="shared tokens"):
        shared_row([pair])


def test_no_pairs_are_a_forward_pass_that_learns_nothing() -> None:
    model = tiny("llama", attention=NAME)
    for share in (True, False):
        found = answer_log_probs(model, [], 0, share_prompt=share)
        assert [x.shape for x in found] == [(0,)] * 4
        found.chosen.sum().backward()
    assert all(not p.grad.any() for p in model.parameters() if p.grad is not None)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("window", [0, 5])
def test_sharing_on_cuda_gives_what_the_cpu_gives(window: int) -> None:
    changes: dict[str, Any] = {"sliding_window": window} if window else {}
    family = "mistral-sliding" if window else "llama"
    pairs, found = pairs_of(SIZES), []
    for device, dtype in (("cpu", torch.float32), ("cuda", torch.bfloat16)):
        model = tiny(family, attention=NAME, **changes).to(device, dtype)
        assert can_share_prompts(model) is None
        out = answer_log_probs(model, pairs, 0, share_prompt=True)
        (torch.stack(out[:2], 1).cpu() * weights(pairs)).sum().backward()
        found.append([out.chosen.cpu(), out.rejected.cpu(), *(p.grad.float().cpu() for p in model.parameters())])
    for one, two in zip(*found, strict=True):
        assert (one - two).norm() <= 0.06 * one.norm()
