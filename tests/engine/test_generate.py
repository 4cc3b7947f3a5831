"""Generation: greedy is that of transformers, samples do not depend on the batch."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import pytest
import torch
from tiny_families import FAMILIES, VOCABULARY, tiny
from transformers import TopKLogitsWarper, TopPLogitsWarper
from transformers.generation.logits_process import MinPLogitsWarper

from seatools.engine.generate import (
    Generated,
    PromptError,
    SamplingOptions,
    generate,
    kept_probabilities,
    next_tokens,
)
from seatools.streams.errors import UsageError

LENGTHS = (1, 3, 5, 9, 14, 14, 20)  # on both sides of the sliding window of 6


def prompts(lengths=LENGTHS) -> list[list[int]]:
    draw = random.Random(5)
    return [[draw.randrange(3, VOCABULARY) for _ in range(length)] for length in lengths]


def letters(ids: list[int]) -> str:
    """A decoder in which every id stands for one to three letters: 3 -> "d", 29 -> "dd", 55 -> "ddd"."""
    return "".join(chr(ord("a") + token % 26) * (1 + token // 26 % 3) for token in ids)


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_equals_transformers_on_a_batch_of_mixed_lengths(family):
    model, given = tiny(family), prompts()
    options = SamplingOptions(max_new_tokens=12, temperature=0, stop_ids=frozenset({2}))
    ours = generate(model, given, options, seeds=[0] * len(given))
    for prompt, answer in zip(given, ours, strict=True):
        ids = torch.tensor([prompt])
        theirs = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=12)
        expected = theirs[0, len(prompt) :].tolist()
        assert answer.ids == (expected[: expected.index(2)] if 2 in expected else expected)
    assert len({tuple(answer.ids) for answer in ours}) > 3  # the prompts matter


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("batch_tokens", [1, 70, 16384])
def test_sampled_answer_is_the_same_alone_and_in_any_batch(family, batch_tokens):
    model, given = tiny(family), prompts() + prompts((9, 9))[:1] * 3
    stops = frozenset(range(2, 10))  # one token in twelve ends a row, so batches shrink on the way
    options = SamplingOptions(max_new_tokens=16, temperature=1.3, top_p=0.95, stop_ids=stops)
    seeds = [100 + row for row in range(len(given))]
    together = generate(model, given, options, seeds=seeds, batch_tokens=batch_tokens)
    alone = [generate(model, [prompt], options, seeds=[seed])[0] for prompt, seed in zip(given, seeds, strict=True)]
    assert together == alone
    assert len({len(answer.ids) for answer in together}) > 3


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_cuda_answers_like_the_cpu(dtype):
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    model, given = tiny("gemma3", dtype), prompts()
    options = SamplingOptions(max_new_tokens=16, top_k=40, top_p=0.95, min_p=0.01, stop_ids=frozenset({2, 3, 4}))
    on_cpu = generate(model, given, options, seeds=range(7))
    on_cuda = generate(model.to("cuda"), given, options, seeds=range(7))
    agreeing = sum(a == b for a, b in zip(on_cpu, on_cuda, strict=True))
    assert agreeing == 7 if dtype == torch.float32 else agreeing >= 3


def test_finished_rows_leave_the_batch():
    model, given = tiny("llama"), prompts((5,) * 8)
    widths = []
    model.register_forward_pre_hook(lambda _, args, kwargs: widths.append(len(kwargs["input_ids"])), with_kwargs=True)
    options = SamplingOptions(max_new_tokens=20, temperature=1.5, stop_ids=frozenset(range(2, 16)))
    answers = generate(model, given, options, seeds=range(8))
    expected, width = [8], 8
    for step in range(1, 20):
        alive = sum(len(answer.ids) >= step for answer in answers)
        if 2 * alive <= width:
            width = alive
        expected.append(width)
    assert widths == [width for width in expected if width]
    assert len(set(expected) - {0}) > 2  # they left in two goes or more


def test_equal_prompts_are_prefilled_once_and_differ_by_seed():
    model, prompt = tiny("gemma3"), prompts((14,))[0]
    shapes = []
    model.register_forward_pre_hook(
        lambda _, args, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    answers = generate(model, [prompt] * 4, SamplingOptions(max_new_tokens=8), seeds=[1, 2, 3, 1])
    assert shapes == [(1, 14)] + [(4, 1)] * 7
    assert answers[0] == answers[3]
    assert len({tuple(answer.ids) for answer in answers}) == 3


def test_fewer_new_tokens_give_a_beginning_of_the_same_answer():
    model, given = tiny("llama"), prompts()
    long = generate(model, given, SamplingOptions(max_new_tokens=12), seeds=range(7))
    short = generate(model, given, SamplingOptions(max_new_tokens=5), seeds=range(7))
    assert [answer.ids for answer in short] == [answer.ids[:5] for answer in long]


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


def test_stop_id_ends_the_answer_and_is_not_part_of_it():
    model, given = tiny("llama"), prompts((5,))
    free = generate(model, given, SamplingOptions(max_new_tokens=10, temperature=0), seeds=[0])[0]
    stop = free.ids[4]
    options = SamplingOptions(max_new_tokens=10, temperature=0, stop_ids=frozenset({stop}))
    assert generate(model, given, options, seeds=[0]) == [Generated(free.ids[: free.ids.index(stop)], "stop")]
    assert free.finish == "length"


def test_stop_string_cuts_ids_and_text_before_it():
    model, given = tiny("llama"), prompts((5,))
    plain = SamplingOptions(max_new_tokens=12, temperature=1.0)
    free = generate(model, given, plain, seeds=[3], decode=letters)[0]
    assert free.text == letters(free.ids)
    for start in range(len(free.text) - 4):  # every place, also inside a token
        stop = free.text[start : start + 4]
        options = dataclasses.replace(plain, stop_strings=("never", stop))
        answer = generate(model, given, options, seeds=[3], decode=letters)[0]
        before = free.text[: free.text.index(stop)]
        whole = max(n for n in range(len(free.ids) + 1) if before.startswith(letters(free.ids[:n])))
        assert answer == Generated(free.ids[:whole], "stop", before)


def test_progress_counts_every_row_once():
    counts: list[int] = []
    options = SamplingOptions(max_new_tokens=4, stop_ids=frozenset(range(2, 30)))
    generate(tiny("llama"), prompts(), options, seeds=range(7), progress=counts.append)
    assert sum(counts) == 7


@pytest.mark.parametrize(
    ("bad", "message"),
    [([], "no tokens"), ([5] * 60, "64 positions"), ([5, VOCABULARY], "97 embeddings"), ([-1], "97 embeddings")],
)
def test_a_prompt_that_cannot_be_answered_is_named(bad, message):
    with pytest.raises(PromptError, match=message) as caught:
        generate(tiny("llama"), [[5], bad], SamplingOptions(max_new_tokens=5), seeds=[0, 1])
    assert caught.value.row == 1


def test_a_prompt_may_fill_the_positions_exactly():
    options = SamplingOptions(max_new_tokens=5, temperature=0)
    assert len(generate(tiny("llama"), [[5] * 59], options, seeds=[0])[0].ids) == 5


def test_logits_that_are_not_finite_are_refused():
    model = tiny("llama")
    with torch.no_grad():
        model.lm_head.weight[7] = torch.nan
    for temperature in (0.0, 1.0):
        with pytest.raises(PromptError, match="not finite"):
            generate(model, [[5]], SamplingOptions(max_new_tokens=2, temperature=temperature), seeds=[0])


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


def test_stop_strings_without_a_decoder_are_refused():
    with pytest.raises(UsageError, match="tokenizer"):
        generate(tiny("llama"), [[5]], SamplingOptions(stop_strings=("x",)), seeds=[0])
