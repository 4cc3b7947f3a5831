"""LAPE against the official code."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seatools.lsn_detect.lape import entropies, select
from seatools.streams.errors import SeaError, UsageError


def official(over_zero: torch.Tensor, n: torch.Tensor, top_rate: float, filter_rate: float) -> list[set[int]]:
    """identify.py of the LAPE authors in float64, step by step: language -> flat indices. [layers, width, languages]"""
    activation_probs = over_zero.double() / n
    normed = activation_probs / activation_probs.sum(dim=-1, keepdim=True)
    normed[torch.isnan(normed)] = 0
    log_probs = torch.where(normed > 0, normed.log(), 0)
    entropy = -torch.sum(normed * log_probs, dim=-1)
    flattened_probs = activation_probs.flatten()
    top_prob_value = flattened_probs.kthvalue(round(len(flattened_probs) * filter_rate)).values.item()
    entropy[(activation_probs > top_prob_value).sum(dim=-1) == 0] = torch.inf
    flattened_entropy = entropy.flatten()
    top_entropy_value = round(len(flattened_entropy) * top_rate)
    _, index = flattened_entropy.topk(top_entropy_value, largest=False)
    selected_probs = activation_probs.flatten(0, 1)[index].transpose(0, 1)
    lang, indice = torch.where(selected_probs > top_prob_value)
    return [set(index[indice[lang == i]].tolist()) for i in range(over_zero.shape[-1])]


@given(st.integers(0, 10_000), st.integers(2, 5), st.sampled_from([0.02, 0.05, 0.1]))
def test_selection_is_that_of_the_official_code(seed, num_languages, share):
    rng = np.random.default_rng(seed)
    tokens = rng.integers(100_000, 900_000, num_languages)  # many tokens: no two entropies are equal
    counts = (rng.beta(0.5, 2, (num_languages, 3 * 40)) * tokens[:, None]).astype(np.int64)
    ours = select(counts, tokens, percentile=0.95, share=share)
    theirs = official(torch.tensor(counts.T.reshape(3, 40, num_languages)), torch.tensor(tokens), share, 0.95)
    assert [set(np.flatnonzero(row)) for row in ours.chosen] == theirs


def test_one_percent_of_llama_2_7b_is_the_published_3523():
    rng = np.random.default_rng(0)
    tokens = np.full(6, 10**6)
    counts = (rng.beta(0.3, 2, (6, 32 * 11_008)) * 10**6).astype(np.int64)
    assert select(counts, tokens, percentile=0.95, share=0.01).num_kept == 3_523


def test_equal_entropies_go_by_position_and_still_make_the_exact_number():
    counts = np.array([[90] * 20, [0] * 20])  # all alike: entropy 0, above a bar of 0
    chosen = select(counts, np.array([100, 100]), percentile=0.5, share=0.25).chosen
    assert chosen.tolist() == [[True] * 5 + [False] * 15, [False] * 20]


def test_the_share_is_not_filled_with_neurons_below_the_bar():
    counts = np.array([[90, 1, 1, 1, 1, 1, 1, 1, 1, 1], [1] * 10])
    chosen = select(counts, np.array([100, 100]), percentile=0.95, share=0.5)
    assert (chosen.num_wanted, chosen.num_kept) == (5, 1)
    assert chosen.chosen.tolist() == [[True] + [False] * 9, [False] * 10]


@given(st.integers(0, 1000), st.integers(1, 12))
def test_top_gives_each_language_its_neurons_of_lowest_entropy(seed, top):
    rng = np.random.default_rng(seed)
    tokens = rng.integers(100, 900, 3)
    counts = (rng.beta(0.5, 2, (3, 60)) * tokens[:, None]).astype(np.int64)
    ours = select(counts, tokens, percentile=0.8, share=0.01, top=top)
    entropy = entropies(ours.probabilities)
    for row, probabilities in enumerate(ours.probabilities):
        assigned = [i for i in range(60) if probabilities[i] > ours.bar]
        assert np.flatnonzero(ours.chosen[row]).tolist() == sorted(
            sorted(assigned, key=lambda i: (entropy[i], i))[:top]
        )


def test_entropy_is_natural_and_a_dead_neuron_has_none():
    assert entropies(np.array([[0.5, 0.2, 0.0], [0.5, 0.0, 0.0]])).tolist() == pytest.approx([np.log(2), 0, 0])


def test_one_language_and_a_share_of_no_neuron_are_refused():
    with pytest.raises(UsageError, match="two at least"):
        select(np.ones((1, 10)), np.array([10]), percentile=0.95, share=0.1)
    with pytest.raises(SeaError, match="0.01 of 10 FFN neurons is none"):
        select(np.ones((2, 10)), np.array([10, 10]), percentile=0.95, share=0.01)
