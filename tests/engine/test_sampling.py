"""Sampling: the distribution is that of transformers' warpers and of a brute force."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import TopKLogitsWarper, TopPLogitsWarper
from transformers.generation.logits_process import MinPLogitsWarper

from seatools.engine.sampling import SamplingOptions, kept_probabilities, next_tokens, penalised
from seatools.streams.errors import UsageError


@pytest.mark.parametrize(
    "options",
    [
        SamplingOptions(temperature=0.7),
        SamplingOptions(top_k=5),
        SamplingOptions(top_p=0.8),
        SamplingOptions(min_p=0.1),
        SamplingOptions(temperature=1.7, top_k=20, top_p=0.6, min_p=0.05),
    ],
)
def test_probabilities_are_those_of_the_warpers_of_transformers(options):
    logits = torch.randn(4, 60, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 3
    expected = logits / options.temperature
    if options.top_k:
        expected = TopKLogitsWarper(options.top_k)(None, expected)
    if options.top_p < 1:
        expected = TopPLogitsWarper(options.top_p)(None, expected)
    if options.min_p:
        expected = MinPLogitsWarper(options.min_p)(None, expected)
    ours = kept_probabilities(logits, options)
    assert torch.allclose(ours / ours.sum(-1, keepdim=True), expected.softmax(-1), atol=1e-12, rtol=0)


def brute_force(logits: np.ndarray, top_p: float, min_p: float) -> np.ndarray:
    chances = np.exp(logits) / np.exp(logits).sum()
    kept, reached = np.zeros_like(chances), 0.0
    for token in np.argsort(-chances, kind="stable"):
        if reached < top_p and chances[token] >= min_p * chances.max():
            kept[token] = chances[token]
        reached += chances[token]
    return kept / kept.sum()


@pytest.mark.parametrize(("top_p", "min_p"), [(1.0, 0.0), (0.75, 0.0), (1.0, 0.2), (0.9, 0.1), (1e-9, 0.0), (1.0, 1.0)])
def test_each_token_is_drawn_as_often_as_a_brute_force_says(top_p, min_p):
    logits = torch.tensor([0.3, 2.0, -1.0, 1.2, 1.9, -4.0, 0.0, 1.2], dtype=torch.float64)
    grid = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000  # each uniform stands for 1/20,000 of chance
    drawn = next_tokens(logits.expand(20_000, -1), SamplingOptions(top_p=top_p, min_p=min_p), grid)
    frequency = torch.bincount(drawn, minlength=8).numpy() / 20_000
    assert np.abs(frequency - brute_force(logits.numpy(), top_p, min_p)).max() <= 1 / 20_000 + 1e-12


@pytest.mark.parametrize("uniform", [0.0, 0.5, 1 - 2**-53])
def test_a_token_without_probability_is_never_drawn(uniform):
    logits = torch.tensor([[-torch.inf, 0.1, -torch.inf, 0.2, 0.3, -torch.inf]])
    assert int(next_tokens(logits, SamplingOptions(), torch.tensor([uniform], dtype=torch.float64))) in {1, 3, 4}


def test_top_k_of_one_is_greedy_even_between_equals():
    logits = torch.tensor([[1.0, 3.0, 3.0, 2.0]], dtype=torch.bfloat16)
    late = torch.tensor([0.999], dtype=torch.float64)
    assert next_tokens(logits, SamplingOptions(top_k=1), late).tolist() == [1]
    assert next_tokens(logits, SamplingOptions(temperature=0), late).tolist() == [1]


def test_of_equal_tokens_at_a_border_the_lower_ids_stay():
    level = torch.zeros(1, 5000)
    assert kept_probabilities(level, SamplingOptions(top_k=3)).nonzero()[:, 1].tolist() == [0, 1, 2]
    assert kept_probabilities(level[:, :4], SamplingOptions(top_p=0.5)).nonzero()[:, 1].tolist() == [0, 1]


def test_a_very_low_temperature_is_greedy_and_finite():
    logits = torch.tensor([[1.0, 3.0, 2.999]])
    options = SamplingOptions(temperature=1e-300)
    assert next_tokens(logits, options, torch.tensor([0.999], dtype=torch.float64)).tolist() == [1]


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_new_tokens": 0},
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"top_k": -1},
        {"min_p": 1.5},
        {"stop_strings": ("",)},
        {"stop_strings": "abc"},
    ],
)
def test_wrong_options_are_refused(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        SamplingOptions(**wrong)


@pytest.mark.parametrize(
    "options",
    [
        SamplingOptions(top_k=300),
        SamplingOptions(top_p=0.999),
        SamplingOptions(top_k=700, top_p=0.97),
        SamplingOptions(top_k=2, top_p=0.3),
        SamplingOptions(top_p=0.4, min_p=0.2),
    ],
)
def test_a_large_vocabulary_ranked_in_part_keeps_what_a_whole_sort_keeps(options):
    draw = torch.Generator().manual_seed(2)
    logits = torch.randn(6, 3000, generator=draw, dtype=torch.float64) * torch.tensor([0.0, 0.1, 1, 2, 4, 8])[:, None]
    logits = (logits * 4).round() / 4  # many equals, so that borders fall among them
    expected = torch.zeros_like(logits)
    for row, scores in enumerate(logits):
        weights = (scores - scores.max()).exp()
        order = weights.argsort(descending=True, stable=True)
        kept = order[: options.top_k or None]
        before = weights[kept].cumsum(0) - weights[kept]
        kept = kept[before < options.top_p * weights[kept].sum()]
        expected[row, kept] = weights[kept]
    expected[expected < options.min_p] = 0
    assert torch.equal(kept_probabilities(logits, options) > 0, expected > 0)
    assert torch.allclose(kept_probabilities(logits, options), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("penalty", [0.5, 1.3, 2.0])
def test_the_repetition_penalty_is_that_of_transformers(penalty):
    from transformers import RepetitionPenaltyLogitsProcessor

    logits = torch.randn(3, 11, generator=torch.Generator().manual_seed(0), dtype=torch.float64).float()
    before = logits.clone()
    seen = [np.array([3, 3, 0]), np.array([10]), np.array([1, 2, 4, 1])]
    found = penalised(logits, seen, penalty)
    for row, ids in enumerate(seen):
        expected = RepetitionPenaltyLogitsProcessor(penalty)(torch.from_numpy(ids)[None], before[row : row + 1].clone())
        assert torch.equal(found[row : row + 1], expected)
    assert torch.equal(logits, before)  # they may be the model's own


@pytest.mark.parametrize("penalty", [0, -1, float("inf"), float("nan")])
def test_a_repetition_penalty_out_of_range_is_refused(penalty):
    with pytest.raises(UsageError, match="repetition_penalty"):
        SamplingOptions(repetition_penalty=penalty)
