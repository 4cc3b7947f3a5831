"""Nats of each text: its windows, and nobody else's, summed."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_families
import torch

from seatools.engine.text_nats import readings_of, text_nats
from seatools.engine.text_windows import chosen_window
from seatools.streams.errors import UsageError


def test_each_text_gets_the_nats_of_its_own_windows():
    model = tiny_families.tiny()
    rng = np.random.default_rng(0)
    texts = [rng.integers(3, 97, length) for length in (5, 30, 1, 17)]  # in windows of 1 + 8 tokens that step by 3
    readings = readings_of(texts, context_id=1, window=9, stride=3)
    assert readings.owners.tolist() == sorted(readings.owners.tolist()) and readings.num_texts == 4

    def log_probs(ids: list[int]) -> torch.Tensor:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids])).logits[0].double()
        return logits[:-1].log_softmax(-1)[torch.arange(len(ids) - 1), torch.tensor(ids[1:])]

    expected = []
    for text in texts:
        ids = text.tolist()
        nats = -float(log_probs([1, *ids[:8]]).sum())
        for end in range(8, len(ids), 3):
            new_end = min(end + 3, len(ids))
            nats -= float(log_probs([1, *ids[new_end - 8 : new_end]])[end - new_end :].sum())
        expected.append(nats)
    seen: list[int] = []
    for batch_tokens in (1, 1000):
        found = text_nats(model, readings, 0, batch_tokens=batch_tokens, advance=seen.append)
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert sum(seen) == 2 * len(readings.documents)


@pytest.mark.parametrize(
    ("positions", "seq_len", "stride", "expected"),
    [(None, None, None, (2048, 1024)), (128, None, None, (128, 64)), (4096, None, 100, (2048, 100)),
     (None, 9, None, (9, 4)), (10, 2, None, (2, 1))],
)  # fmt: skip
def test_windows_as_asked_for(positions, seq_len, stride, expected):
    assert chosen_window(positions, seq_len, stride) == expected


@pytest.mark.parametrize(
    ("positions", "seq_len", "stride", "match"),
    [(128, 129, None, "more than the model's 128"), (None, 1, None, "at least 2"), (None, 8, 0, "at least 1"),
     (None, 8, 8, "not less than the window of 8"), (16, None, 16, "not less than the window of 16")],
)  # fmt: skip
def test_windows_that_cannot_be_are_refused(positions, seq_len, stride, match):
    with pytest.raises(UsageError, match=match):
        chosen_window(positions, seq_len, stride)
