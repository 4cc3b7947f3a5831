"""Compiled blocks: the same numbers, one compilation for all layers and steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters

from seatools.engine import attention
from seatools.engine.answer_log_probs import AnswerPair, answer_log_probs
from seatools.engine.compile import compile_blocks
from seatools.engine.loss import summed_loss
from seatools.engine.recompute import recompute_blocks
from seatools.engine.rows import Batch, make_batch
from seatools.engine.sequences import score_documents
from seatools.streams.errors import SeaError

attention.register()
STEPS = [[[20, 7, 30]], [[64]], [[3, 40]]]


def packed(lengths: list[list[int]]) -> Batch:
    random = np.random.default_rng(len(lengths[0]))
    return make_batch([[(random.integers(3, 97, n), np.ones(n)) for n in row] for row in lengths], 64)


def steps(model: Any) -> list[torch.Tensor]:
    """Losses and gradients of three batches whose documents are of other lengths each time."""
    found = []
    for lengths in STEPS:
        model.zero_grad()
        loss, _ = summed_loss(model, packed(lengths))
        loss.backward()
        found += [loss.detach(), *(parameter.grad.clone() for parameter in model.parameters())]
    return found


@pytest.mark.parametrize(
    ("family", "name", "recompute", "kinds"),
    [
        ("llama", "sea_varlen", "none", 1),
        ("llama", "sea_varlen", "selective", 1),
        ("llama", "sea_varlen", "full", 1),
        ("qwen2", "sea_varlen", "none", 1),
        ("mistral-sliding", "sea_varlen", "none", 1),
        ("gemma3", "sea_varlen", "none", 2),  # layers with and without a window
        ("gemma2", "eager", "selective", 1),
    ],
)
def test_one_compilation_serves_all_layers_and_steps(
    tiny_model: Callable[..., Any], family: str, name: str, recompute: str, kinds: int
) -> None:
    torch._dynamo.reset()
    counters.clear()
    model = tiny_model(family, attention=name)
    recompute_blocks(model, recompute)
    said: list[str] = []
    compile_blocks(model, lambda: said.append("compiling"), backend="aot_eager")
    assert said == []
    found = steps(model)
    assert said == ["compiling"]
    assert counters["frames"]["total"] == counters["frames"]["ok"] == kinds
    assert not counters["graph_break"]
    for one, two in zip(found, steps(tiny_model(family, attention=name)), strict=True):
        torch.testing.assert_close(one, two, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("share", [True, False])
def test_one_compilation_serves_pairs_of_every_length(tiny_model: Callable[..., Any], share: bool) -> None:
    """Each row of pairs has a length and a number of answers of its own."""
    torch._dynamo.reset()
    counters.clear()
    random = np.random.default_rng(0)

    def pair() -> AnswerPair:
        prompt = random.integers(3, 97, random.integers(2, 20)).tolist()
        answers = (random.integers(3, 97, random.integers(2, 15)).tolist() for _ in range(2))
        return AnswerPair(*((prompt + a, [0] * len(prompt) + [1] * len(a)) for a in answers), len(prompt))

    models = [tiny_model("llama", attention="sea_varlen") for _ in range(2)]
    compile_blocks(models[0], lengths_vary=True, backend="aot_eager")
    for number in (1, 3, 2, 4):
        pairs, found = [pair() for _ in range(number)], []
        for model in models:
            model.zero_grad()
            values = answer_log_probs(model, pairs, 0, share_prompt=share)
            (values.chosen - 2 * values.rejected).sum().backward()
            found.append([values.chosen, *(parameter.grad for parameter in model.parameters())])
        for one, two in zip(*found, strict=True):
            torch.testing.assert_close(one, two, rtol=2e-5, atol=2e-5)
    assert counters["frames"]["total"] == counters["frames"]["ok"] == 1
    assert counters["stats"]["unique_graphs"] == 1 and not counters["graph_break"]


def test_evaluation_between_steps_compiles_nothing(tiny_model: Callable[..., Any]) -> None:
    """Its batches are of other shapes each time: a compilation for each would take longer than the training."""
    torch._dynamo.reset()
    counters.clear()
    model = tiny_model("llama", attention="sea_varlen")
    said: list[str] = []
    compile_blocks(model, lambda: said.append("compiling"), backend="aot_eager")
    random = np.random.default_rng(0)
    documents = [(random.integers(3, 97, n), np.ones(n)) for n in (5, 9, 17, 30)]
    before = score_documents(model, documents, 0, batch_tokens=1)
    assert not counters["frames"] and said == []
    steps(model)
    again = score_documents(model, documents, 0, batch_tokens=1)
    assert counters["frames"]["total"] == 1 and said == ["compiling"]
    assert np.array_equal(before, again)


@pytest.mark.slow
def test_generated_code_gives_the_same_numbers(tiny_model: Callable[..., Any]) -> None:
    torch._dynamo.reset()
    model = tiny_model("llama", attention="sea_varlen", num_hidden_layers=2)
    recompute_blocks(model, "selective")
    compile_blocks(model)
    plain = tiny_model("llama", attention="sea_varlen", num_hidden_layers=2)
    for one, two in zip(steps(model), steps(plain), strict=True):
        assert (one - two).norm() <= 1e-5 * two.norm()


def test_a_machine_without_a_compiler_is_told_so_at_once(
    tiny_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._inductor import config, cpp_builder

    cpp_builder.get_cpp_compiler.cache_clear() if hasattr(cpp_builder.get_cpp_compiler, "cache_clear") else None
    monkeypatch.setattr(config.cpp, "cxx", ("no-such-compiler",))
    with pytest.raises(SeaError, match="C\\+\\+ compiler"):
        compile_blocks(tiny_model("llama"))
