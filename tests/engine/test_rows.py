"""Rows laid out for the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from seatools.engine.loss import forward_hidden, head_of
from seatools.engine.rows import Batch, make_batch

FAMILIES = ["llama", "qwen2", "qwen3", "mistral", "mistral-sliding", "gemma3"]
CASES = [(family, attention) for family in FAMILIES for attention in ("sdpa", "eager")]
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
    assert batch.num_targets == 3


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


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_gradients_do_not_cross_documents(tiny_model: Callable[..., Any], family: str) -> None:
    model = tiny_model(family)
    model.activation_checkpointing_enable()
    model.train()
    batch = make_batch([[random_doc(6, 1), random_doc(5, 2)]])
    embedded = model.get_input_embeddings()(batch.input_ids).detach().requires_grad_()
    hidden = model.get_decoder()(inputs_embeds=embedded, position_ids=batch.position_ids, use_cache=False)[0]
    hidden[0, 6:].square().sum().backward()
    assert embedded.grad is not None
    assert embedded.grad[0, :6].abs().max() == 0
    assert embedded.grad[0, 6:].abs().max() > 0
