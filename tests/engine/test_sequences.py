"""Scores of whole documents, however they are packed and batched."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from seatools.engine.sequences import score_documents, sequence_log_probs

LENGTHS = (7, 2, 12, 5, 1, 12, 9, 3)


def documents() -> list[tuple[np.ndarray, np.ndarray]]:
    """Documents of several lengths, their second halves trained; the one of a single token has no target."""
    draw = np.random.default_rng(0)
    masks = [np.arange(n) >= max(1, n // 2) for n in LENGTHS]
    return [(draw.integers(3, 97, n), mask.astype(np.uint8)) for n, mask in zip(LENGTHS, masks, strict=True)]


def alone(model: Any, ids: np.ndarray, mask: np.ndarray) -> torch.Tensor:
    """The sum of log p over the trained tokens, by the model's own logits on this document alone."""
    tokens = torch.from_numpy(ids)[None]
    log_probs = model(input_ids=tokens).logits.float().log_softmax(-1)[0, :-1]
    picked = log_probs.gather(1, tokens[0, 1:, None])[:, 0]
    return (picked * torch.from_numpy(mask[1:].astype(np.float32))).sum()


@pytest.fixture(scope="module")
def model(tiny_model: Any) -> Any:
    return tiny_model("llama")


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma3"])
def test_packed_answers_score_as_one_document_at_a_time(tiny_model: Any, family: str) -> None:
    model = tiny_model(family)
    docs = documents()
    with torch.no_grad():
        expected = torch.stack([alone(model, *doc) for doc in docs])
        found = sequence_log_probs(model, docs, pad_id=0)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("batch_tokens", [1, 10, 17, 8192])
def test_any_batch_size_gives_the_same_scores_in_the_order_of_the_documents(model: Any, batch_tokens: int) -> None:
    docs, counted = documents(), []
    with torch.no_grad():
        expected = [float(alone(model, *doc)) for doc in docs]
    found = score_documents(model, docs, 0, batch_tokens=batch_tokens, advance=counted.append)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert sum(counted) == len(docs)
    assert (len(counted) > 1) == (batch_tokens < sum(LENGTHS))


def test_the_pad_token_does_not_matter(model: Any) -> None:
    with torch.no_grad():
        assert torch.equal(
            sequence_log_probs(model, documents(), pad_id=0), sequence_log_probs(model, documents(), pad_id=96)
        )


def test_no_documents_have_no_scores(model: Any) -> None:
    assert score_documents(model, [], 0).shape == (0,)


def test_gradients_are_those_of_one_document_at_a_time(tiny_model: Any) -> None:
    """Each score with a weight of its own, so that a score given to another document would show."""
    docs = documents()
    weights = torch.linspace(-1, 2, len(docs))
    packed, single = tiny_model("llama"), tiny_model("llama")
    (sequence_log_probs(packed, docs, 0) * weights).sum().backward()
    (torch.stack([alone(single, *doc) for doc in docs]) * weights).sum().backward()
    for (name, one), two in zip(packed.named_parameters(), single.parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad, rtol=1e-4, atol=2e-5, msg=name)


def test_a_model_that_scored_can_be_trained(tiny_model: Any) -> None:
    """The reference of DPO is computed by the model that is trained next."""
    model = tiny_model("llama")
    score_documents(model, documents(), 0)
    sequence_log_probs(model, documents(), 0).sum().backward()
    assert model.get_input_embeddings().weight.grad is not None
