"""Scores with shared beginnings equal those of each document alone, whatever is shared, batched or windowed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from prefix_docs import alone, build, odd_ones, questions
from tiny_families import FAMILIES, tiny

from seatools.engine import attention as document_attention
from seatools.engine import prefix_attention
from seatools.engine.prefix_scores import prefix_scores, unshareable
from seatools.engine.sequences import score_documents

document_attention.register()
DOCS = questions() + odd_ones()


@pytest.fixture(scope="module")
def model(tiny_model: Callable[..., Any]) -> Any:
    return tiny_model("llama", attention="sea_varlen")


@pytest.mark.parametrize("attention", ["sea_varlen", None])
@pytest.mark.parametrize("family", FAMILIES)
def test_scores_are_those_of_score_documents(
    tiny_model: Callable[..., Any], family: str, attention: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By batches of one token and of all, by calls with masks and without; windows of 4 tokens cut off most keys."""
    model = tiny_model(family, attention="eager" if family == "gemma2" else attention)
    before = model.config._attn_implementation
    expected = score_documents(model, DOCS, 0)
    assert unshareable(model) is None
    for batch_tokens, group in ((3, 128), (20, 8), (100_000, 0), (100_000, 10)):
        monkeypatch.setattr(prefix_attention, "GROUP_CPU", group)
        found = prefix_scores(model, DOCS, batch_tokens=batch_tokens)
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)
    assert model.config._attn_implementation == before


def test_windows_longer_than_a_piece_of_queries(
    tiny_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A segment, a parent and a path that are cut into pieces of queries."""
    model = tiny_model("mistral-sliding", attention="sea_varlen", sliding_window=9)
    draw = np.random.default_rng(1)
    start = draw.integers(3, 97, 30).tolist()
    docs = [([*start, *draw.integers(3, 97, n)], [0] * (25 + n) + [1] * 5) for n in (12, 20, 33, 3)]
    monkeypatch.setattr(prefix_attention, "_QUERIES", 4)
    expected = [alone(model, doc) for doc in docs]
    for batch_tokens, group in ((11, 0), (45, 0), (1000, 0), (1000, 40)):
        monkeypatch.setattr(prefix_attention, "GROUP_CPU", group)
        np.testing.assert_allclose(prefix_scores(model, docs, batch_tokens=batch_tokens), expected, rtol=2e-5)


MODEL = tiny("llama", attention="sea_varlen", seed=1)
PAIRS = st.lists(st.tuples(st.integers(3, 5), st.booleans()), min_size=1, max_size=12)


@settings(deadline=None, max_examples=25)
@given(st.lists(PAIRS, max_size=10), st.integers(1, 40), st.sampled_from([0, 5, 128]))
def test_any_tree_scores_as_its_documents_do(lists: list[Any], batch_tokens: int, group: int) -> None:
    docs = [([token for token, _ in pairs], [int(wanted) for _, wanted in pairs]) for pairs in lists]
    before, prefix_attention.GROUP_CPU = prefix_attention.GROUP_CPU, group
    try:
        found = prefix_scores(MODEL, docs, batch_tokens=batch_tokens)
    finally:
        prefix_attention.GROUP_CPU = before
    np.testing.assert_allclose(found, [alone(MODEL, doc) for doc in docs], rtol=2e-5, atol=2e-5)


def test_capped_scores_in_pieces(tiny_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefix_attention, "_PLAIN_ELEMENTS", 300)
    monkeypatch.setattr(prefix_attention, "GROUP_CPU", 0)
    model = tiny_model("gemma2", attention="eager", attn_logit_softcapping=1.5)
    found = prefix_scores(model, DOCS, batch_tokens=40)
    np.testing.assert_allclose(found, [alone(model, doc) for doc in DOCS], rtol=2e-5, atol=2e-5)


def test_a_text_near_the_last_position(model: Any) -> None:
    positions = model.config.max_position_embeddings
    start = np.random.default_rng(3).integers(3, 97, positions - 2).tolist()
    docs = [([*start, n, n + 1], [0] * (positions - 2) + [1, 1]) for n in (5, 8)]
    found = prefix_scores(model, docs, batch_tokens=10)
    np.testing.assert_allclose(found, [alone(model, doc) for doc in docs], rtol=2e-5)


@pytest.mark.parametrize(
    ("model_type", "values", "reason"),
    [
        ("mamba", dict(state_size=8), "layers of linear_attention"),
        ("bloom", {}, "compute a tree otherwise"),
        (
            "lfm2",
            dict(intermediate_size=48, num_key_value_heads=2, layer_types=["conv", "full_attention", "conv"]),
            "layers of conv",
        ),
        ("gpt_oss", dict(intermediate_size=48, num_key_value_heads=2, head_dim=8, num_local_experts=4), "s_aux"),
    ],
)
def test_what_cannot_share_is_scored_apart_with_a_message(model_type: str, values: dict[str, Any], reason: str) -> None:
    model, said, counted = build(model_type, **values), [], []
    expected = [alone(model, doc) for doc in DOCS]
    for batch_tokens in (1, 100, None):
        found = prefix_scores(model, DOCS, batch_tokens=batch_tokens, debug=said.append, advance=counted.append)
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)
    assert all("scored by itself" in line and reason in line for line in said)
    assert sum(counted) == 3 * len(DOCS)


@pytest.mark.parametrize("group", [0, 128])
def test_convolutions_are_found_by_the_proof_too(group: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by the name of the layers alone."""
    from seatools.engine import prefix_scores as engine

    monkeypatch.setattr(engine, "unknown_layers", lambda model: None)
    values: Any = dict(intermediate_size=48, num_key_value_heads=2, layer_types=["conv", "full_attention", "conv"])
    assert unshareable(build("lfm2", **values)) is not None


@pytest.mark.parametrize("fault", ["siblings see each other", "the path is not seen", "another scale"])
def test_a_fault_of_the_attention_is_found(
    tiny_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    right, layout = prefix_attention._part, prefix_attention.Layout.calls
    if fault == "another scale":
        monkeypatch.setattr(prefix_attention, "_part", lambda *a: right(*a[:5], 0.5 * a[5], a[6]))
    else:

        def wrong(self: Any, window: int) -> Any:
            own, more = layout(self, window)
            if fault == "the path is not seen":
                return own, [call for call in more if not call.of_path]
            return [call._replace(causal=True, allowed=None) for call in own], more

        monkeypatch.setattr(prefix_attention.Layout, "calls", wrong)
    assert unshareable(tiny_model("llama", attention="sea_varlen", seed=5)) is not None


@pytest.mark.parametrize("family", ["llama", "gemma3", "gemma2"])
def test_half_precision_is_proven_and_close(tiny_model: Callable[..., Any], family: str) -> None:
    model = tiny_model(family, torch.bfloat16, attention="eager" if family == "gemma2" else "sea_varlen")
    assert unshareable(model) is None
    exact = prefix_scores(tiny_model(family, attention="eager" if family == "gemma2" else None), DOCS)
    np.testing.assert_allclose(prefix_scores(model, DOCS), exact, rtol=0.1, atol=0.5)


def test_a_text_that_changes_the_rotary_frequencies_does_not_change_them_for_others() -> None:
    rope = dict(
        rope_type="longrope", rope_theta=1e4, short_factor=[1.0] * 4, long_factor=[4.0] * 4,
        original_max_position_embeddings=20,
    )  # fmt: skip
    model = build(
        "phi3", intermediate_size=48, num_key_value_heads=2, pad_token_id=0, max_position_embeddings=256,
        original_max_position_embeddings=20,
        rope_parameters=rope,
    )  # fmt: skip
    short = [([*range(3, 13), n, n + 1], [0] * 10 + [1, 1]) for n in (20, 30)]
    long = [([*range(3, 43), n, n + 1], [0] * 40 + [1, 1]) for n in (50, 60)]
    expected = [alone(model, doc) for doc in short + long]
    said: list[str] = []
    np.testing.assert_allclose(prefix_scores(model, short + long, debug=said.append), expected, rtol=2e-5)
    assert "rotary frequencies that change at 20 tokens" in said[-1]


def test_documents_are_counted_and_none_have_no_scores(model: Any) -> None:
    counted: list[int] = []
    prefix_scores(model, DOCS, batch_tokens=15, advance=counted.append)
    assert sum(counted) == len(DOCS)
    assert len(counted) > 5
    assert prefix_scores(model, []).shape == (0,)
    assert prefix_scores(model, [([5], [1]), ([], [])]).tolist() == [0.0, 0.0]


def test_a_model_that_scored_can_be_trained(tiny_model: Callable[..., Any]) -> None:
    model = tiny_model("llama", attention="sea_varlen", seed=2)
    prefix_scores(model, DOCS)
    model(input_ids=torch.tensor([[4, 5, 6]])).logits.sum().backward()
    assert model.get_input_embeddings().weight.grad is not None


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", ["llama", "gemma2", "gemma3"])
def test_the_same_on_a_gpu(tiny_model: Callable[..., Any], family: str, dtype: torch.dtype) -> None:
    attention = "eager" if family == "gemma2" else "sea_varlen"
    expected = prefix_scores(tiny_model(family, attention=attention), DOCS)
    model = tiny_model(family, dtype, attention=attention).cuda()
    assert unshareable(model) is None
    rough = dtype != torch.float32
    np.testing.assert_allclose(
        prefix_scores(model, DOCS), expected, rtol=0.1 if rough else 1e-3, atol=0.5 if rough else 1e-3
    )
