"""transformers' continuous batching, driven by us, against our own loop."""

from __future__ import annotations

import logging
import random

import pytest
import torch
from tiny_families import VOCABULARY, tiny

from seatools.engine import attention
from seatools.engine.continuous_batching import continuous_answers, unpageable
from seatools.engine.generate import SamplingOptions, generate
from seatools.engine.prompts import PromptError
from seatools.streams.errors import SeaError

OPTIONS = {
    "greedy": SamplingOptions(max_new_tokens=10, temperature=0, stop_ids=frozenset({2, 5})),
    "sampled": SamplingOptions(
        max_new_tokens=10, temperature=1.2, top_k=60, top_p=0.9, min_p=0.01, stop_ids=frozenset(range(2, 8))
    ),
    "stopped": SamplingOptions(max_new_tokens=10, temperature=1.0, stop_strings=("d", "ee")),
}


def given() -> list[list[int]]:
    draw = random.Random(5)
    own = [[draw.randrange(3, VOCABULARY) for _ in range(length)] for length in (1, 3, 9, 14, 20)]
    common = [draw.randrange(3, VOCABULARY) for _ in range(33)]  # two whole blocks of 16 tokens, shared
    return [*own, common + own[0], common + own[1], common + own[1]]


def letters(ids: list[int]) -> str:
    return "".join(chr(ord("a") + token % 26) * (1 + token // 26 % 3) for token in ids)


def answers(model, options, *, num_blocks=24, **more):
    prompts = given()
    found = continuous_answers(
        model, prompts, options, seeds=range(len(prompts)), decode=letters, num_blocks=num_blocks, page_size=16,
        batch_tokens=64, **more,
    )  # fmt: skip
    with torch.no_grad():
        made = dict(found)
    return [made[row] for row in range(len(prompts))]


@pytest.mark.parametrize(
    ("family", "name"),
    [
        *(("llama", name) for name in OPTIONS),
        *((family, "sampled") for family in ("gemma2", "gemma3", "mistral-sliding")),
    ],
)
def test_answers_are_those_of_our_own_loop(family, name):
    model, options = tiny(family), OPTIONS[name]
    expected = generate(model, given(), options, seeds=range(8), decode=letters)
    assert answers(model, options) == expected
    assert len({tuple(answer.ids) for answer in expected}) > 4


def test_requests_that_are_put_back_for_want_of_blocks_go_on_where_they_were():
    model, options = tiny("llama"), OPTIONS["sampled"]
    expected = generate(model, given(), options, seeds=range(8), decode=letters)
    assert answers(model, options, num_blocks=5) == expected


def test_the_attention_and_the_log_level_are_left_as_they_were():
    model = tiny("llama")
    attention.register()
    model.set_attn_implementation(attention.NAME)
    level = logging.getLogger("ContinuousBatchingLogger").level
    answers(model, OPTIONS["greedy"])
    assert model.config._attn_implementation == attention.NAME
    assert logging.getLogger("ContinuousBatchingLogger").level == level


def test_nothing_is_written_to_stderr(capfd):
    answers(tiny("llama"), OPTIONS["greedy"])
    assert capfd.readouterr().err == ""


def test_a_thread_that_dies_is_an_error_and_not_an_endless_wait(monkeypatch):
    model = tiny("llama")
    monkeypatch.setattr(type(model), "forward", lambda *_, **__: 1 / 0)
    with pytest.raises((SeaError, PromptError), match="continuous batching"):
        answers(model, OPTIONS["greedy"])


def test_layers_that_have_no_pages_are_told():
    assert unpageable(tiny("gemma3")) is None
    model = tiny("llama")
    model.config.layer_types = ["linear_attention"] * 3
    assert "linear_attention" in unpageable(model)


@pytest.mark.cuda
def test_on_cuda_answers_are_those_of_our_own_loop():
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    model = tiny("llama").to("cuda")
    for options in OPTIONS.values():
        expected = generate(model, given(), options, seeds=range(8), decode=letters)
        assert answers(model, options) == expected
