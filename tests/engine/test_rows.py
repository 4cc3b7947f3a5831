"""Rows laid out for the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from seatools.engine import attention as document_attention
from seatools.engine.compile import compile_blocks
from seatools.engine.loss import forward_hidden, head_of, summed_loss
from seatools.engine.recompute import recompute_blocks
from seatools.engine.rows import Batch, make_batch

document_attention.register()
FAMILIES = ["llama", "qwen2", "qwen3", "mistral", "mistral-sliding", "gemma3"]
CASES = [(family, attention) for family in FAMILIES for attention in ("sea_varlen", "sdpa", "eager")]
CASES.append(("gemma2", "eager"))  # transformers has no sdpa for Gemma 2, which caps attention scores


def doc(*ids: int) -> tuple[np.ndarray, np.ndarray]:
    return np.array(ids, dtype=np.uint32), np.ones(len(ids), dtype=np.uint8)


def random_doc(length: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    return doc(*np.random.default_rng(seed).integers(3, 97, length))


def test_positions_restart_and_first_tokens_and_padding_are_not_trained() -> None:
    batch = make_batch([[doc(5, 6, 7), doc(8, 9)], [doc(4)]], row_length=7, pad_id=3)
    assert batch.input_ids.tolist() == [[5, 6, 7, 8, 9, 3, 3], [4, 3, 3, 3, 3, 3, 3]]
    assert batch.position_ids.tolist() == [[0, 1, 2, 0, 1, 0, 1], [0, 0, 1, 2, 3, 4, 5]]
    assert batch.loss_mask.int().tolist() == [[0, 1, 1, 0, 1, 0, 0], [0] * 7]
    assert int(batch.loss_mask.sum()) == 3
    assert batch.starts is not None
    assert batch.starts.tolist() == [[0, 3, 5, 7, 7], [0, 1, 7, 7, 7]]
    assert batch.flat_starts().tolist() == [0, 3, 5, 7, 7, 8, 14, 14, 14]


def test_the_number_of_starts_stays_the_same_until_there_is_no_room() -> None:
    """A new shape would be a new compilation."""
    sizes = [make_batch([[doc(5)] * n], row_length=640).flat_starts().numel() - 1 for n in (1, 5, 9, 10, 19, 20, 100)]
    assert sizes == [10, 10, 10, 20, 20, 40, 160]  # the padding is one of them
    full = make_batch([[doc(*range(10))] * 10], row_length=100).flat_starts()
    assert full.tolist()[-7:] == [100] * 7


def test_a_batch_is_made_on_a_device_whole() -> None:
    batch = make_batch([[doc(5, 6, 7)]], 4, device="meta")
    assert {x.device.type for x in vars(batch).values() if x is not None} == {"meta"}


def test_the_loss_mask_of_a_document_is_kept() -> None:
    batch = make_batch([[(np.array([5, 6, 7, 8]), np.array([1, 0, 1, 0]))]])
    assert batch.loss_mask.int().tolist() == [[0, 0, 1, 0]]


def test_without_a_row_length_rows_are_as_long_as_the_longest() -> None:
    assert make_batch([[doc(5, 6), doc(7)], [doc(4)]]).input_ids.shape == (2, 3)


@pytest.mark.parametrize(
    "rows",
    [[[doc(1, 2, 3)]], [[doc(1), doc(2, 3)]], [[(np.array([1, 2]), np.array([1]))]], [], [[doc(1)], [doc(1, 2, 3)]]],
)  # fmt: skip
def test_rows_that_do_not_fit_are_refused(rows: Any) -> None:
    with pytest.raises(ValueError):
        make_batch(rows, row_length=2)


def logits(model: Any, batch: Batch) -> torch.Tensor:
    """Logits [B, T, V] from our hidden states and what we think that the head is."""
    head, hidden = head_of(model), forward_hidden(model, batch)
    y = hidden @ head.weight.t() * head.scale
    return y if head.softcap is None else head.softcap * torch.tanh(y / head.softcap)


@pytest.mark.parametrize(("family", "attention"), CASES)
def test_a_document_does_not_see_the_others(tiny_model: Callable[..., Any], family: str, attention: str) -> None:
    model = tiny_model(family, attention=attention)
    a, b, c, d = (random_doc(n, seed) for seed, n in enumerate((9, 7, 1, 5)))
    with torch.no_grad():
        packed = logits(model, make_batch([[a, b, c], [d, a]], row_length=20))
        for row, start, document in ((0, 0, a), (0, 9, b), (0, 16, c), (1, 0, d), (1, 5, a)):
            alone = model(input_ids=torch.from_numpy(document[0].astype(np.int64))[None]).logits[0]
            torch.testing.assert_close(packed[row, start : start + len(alone)], alone, atol=1e-5, rtol=1e-5)
        moved = logits(model, make_batch([[random_doc(9, 99), b, c], [d, a]], row_length=20))
    # another first document: everything after it, the padding and the other row stay as they were
    assert (moved[0, :9] - packed[0, :9]).abs().max() > 0.1
    torch.testing.assert_close(moved[0, 9:], packed[0, 9:], atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(moved[1], packed[1], atol=1e-6, rtol=1e-6)


def of_the_second(model: Any, first: Any, others: Any) -> list[torch.Tensor]:
    """Hidden states, loss and all gradients of the documents after `first`, whose own tokens are not trained."""
    batch = make_batch([[(first[0], np.zeros(9)), others[0], others[1]], [others[2], others[0]]], row_length=20)
    model.zero_grad()
    hidden = forward_hidden(model, batch)
    loss, _ = summed_loss(model, batch)
    loss.backward()
    grads = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    return [hidden[0, 9:].detach(), hidden[1].detach(), loss.detach(), *grads.values()]


PATHS = [(family, attention, how) for family, attention in CASES for how in ("none", "selective", "full")]
PATHS += [("llama", "sea_varlen", "compiled"), ("gemma3", "sea_varlen", "compiled"), ("llama", "sdpa", "compiled")]


@pytest.mark.parametrize(("family", "attention", "how"), PATHS)
def test_loss_and_gradients_of_a_document_do_not_know_the_others(
    tiny_model: Callable[..., Any], family: str, attention: str, how: str
) -> None:
    model = tiny_model(family, attention=attention)
    if how == "compiled":
        torch._dynamo.reset()
        compile_blocks(model, backend="aot_eager")
    else:
        recompute_blocks(model, how)
    others = [random_doc(n, n) for n in (7, 4, 5)]
    one, two = (of_the_second(model, random_doc(9, seed), others) for seed in (1, 99))
    assert max(float(x.abs().max()) for x in one[3:]) > 0
    for before, after in zip(one, two, strict=True):
        assert torch.equal(before, after)
