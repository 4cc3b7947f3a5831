"""Points from 0 to 5: their expectation is that of the model's own probabilities."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from seatools.engine.load import load_model
from seatools.judge.instructions import InstructionBook
from seatools.judge.judging_text import rating_text
from seatools.judge.pointwise import expected_points
from seatools.streams.errors import SeaError
from seatools.text.chat import load_chat_template
from seatools.text.documents import Documents
from seatools.text.tokenizer import load_tokenizer

ANSWERS = [("why", "because"), ("why", "no idea"), ("ทำไม", "เพราะ")]
WORDS = [InstructionBook().of("en")] * 3


@pytest.mark.parametrize("name", ["byte_judge", "piece_judge", "chat_judge"])
def test_points_are_the_mean_under_the_models_own_probabilities(name, request):
    folder = request.getfixturevalue(name)
    documents = Documents(load_tokenizer(folder), load_chat_template(folder))
    model = load_model(folder, device="cpu", dtype=torch.float32)
    tokenizer, chat = documents.tokenizer, documents.template is not None
    found = expected_points(model, documents, ANSWERS, WORDS)
    for (prompt, answer), words, value in zip(ANSWERS, WORDS, found, strict=True):
        text = rating_text(words, prompt, answer, chat=chat)
        text = f"<|user|>{text}<|assistant|>" if chat else text + " "
        weights = []
        for digit in "012345":  # brute force: the whole text with each digit, its last token's probability
            ids = torch.tensor([[tokenizer.bos_id, *tokenizer.encode(text + digit)]])
            with torch.no_grad():
                log_probs = model(input_ids=ids).logits[0, -2].double().log_softmax(-1)
            weights.append(math.exp(float(log_probs[ids[0, -1]])))
        expected = sum(points * weight for points, weight in enumerate(weights)) / sum(weights)
        assert value == pytest.approx(expected, abs=1e-5)
    assert len(np.unique(found.round(4))) == len(ANSWERS)
    few = expected_points(model, documents, ANSWERS, WORDS, batch_tokens=64)
    np.testing.assert_allclose(few, found, atol=1e-5)


def test_a_judge_that_gives_no_numbers_is_refused(byte_judge, monkeypatch):
    monkeypatch.setattr("seatools.judge.pointwise.prefix_scores", lambda _, docs, **__: np.full(len(docs), math.nan))
    model = load_model(byte_judge, device="cpu", dtype=torch.float32)
    with pytest.raises(SeaError, match="not finite"):
        expected_points(model, Documents(load_tokenizer(byte_judge)), ANSWERS, WORDS)
