"""Log-probabilities of chosen tokens, in blocks of rows and vocabulary, against one target a row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from seatools.engine.loss import head_of, linear_log_probs
from seatools.engine.picked_log_probs import picked_log_probs

INDEX, TARGETS = np.array([0, 0, 0, 2, 3, 3, 6]), np.array([4, 90, 5, 6, 7, 8, 9])


def made(head: Any) -> torch.Tensor:
    return torch.randn(7, head.weight.shape[1], generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("family", ["cohere", "gemma2", "phi"])  # a scale, a cap, a bias
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 7), (None, 50), (2, None), (None, None)])
def test_they_are_those_of_one_target_a_row(
    tiny_model: Callable[..., Any], family: str, rows: int | None, columns: int | None
) -> None:
    head = head_of(tiny_model(family))
    hidden = made(head)
    found = picked_log_probs(hidden, INDEX, TARGETS, head, rows=rows, columns=columns)
    with torch.no_grad():
        expected = linear_log_probs(hidden[INDEX], torch.from_numpy(TARGETS), head)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_tokens_that_a_bias_hides_weigh_nothing(tiny_model: Callable[..., Any]) -> None:
    head = head_of(tiny_model("phi"))
    bias = head.bias.detach().clone()
    bias[20:60] = -torch.inf
    hidden, targets = made(head), np.array([4, 90, 5, 6, 7, 8, 30])
    found = picked_log_probs(hidden, INDEX, targets, replace(head, bias=bias), columns=10)
    logits = (hidden.double() @ head.weight.detach().double().t() + bias.double()).log_softmax(-1)
    expected = logits[INDEX, targets].float()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert found[-1] == -torch.inf and found[:-1].isfinite().all()


def test_what_is_not_finite_shows(tiny_model: Callable[..., Any]) -> None:
    head = head_of(tiny_model("phi"))
    hidden = made(head)
    hidden[2, 0] = torch.nan
    found = picked_log_probs(hidden, INDEX, TARGETS, head, columns=10)
    assert found.isnan().tolist() == [False, False, False, True, False, False, False]


def test_half_precision_is_multiplied_in_fp32(tiny_model: Callable[..., Any]) -> None:
    head = head_of(tiny_model("llama", torch.bfloat16))
    hidden = made(head)
    wide = replace(head, weight=head.weight.detach().float())
    found = picked_log_probs(hidden.bfloat16(), INDEX, TARGETS, head, columns=16)
    expected = picked_log_probs(hidden.bfloat16().float(), INDEX, TARGETS, wide)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
