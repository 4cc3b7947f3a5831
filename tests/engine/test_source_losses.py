"""Losses per source: equal to sums by hand, whatever the micro-batches; special tokens as nanochat counts them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from seatools.engine.loss import target_log_probs
from seatools.engine.rows import make_batch
from seatools.engine.source_losses import SourceLosses, source_map

SOURCES = ["th", "en", "unused"]
EOS = 2
TOKEN_BYTES = np.array([0, 0, 0, *(1 + i % 3 for i in range(94))], dtype=np.uint16)
ROWS = [  # (source, ids, mask) of each document
    [(0, [1, 5, 6, 7, EOS], [0, 1, 1, 1, 1]), (1, [1, 9, 10, EOS], [0, 1, 1, 1])],
    [(1, [1, 20, 21, 22, 23, 24], [0, 0, 0, 1, 1, 1])],
    [(0, [30, 31, 32], [1, 1, 1]), (0, [40, 41], [0, 1]), (1, [50, 51, EOS], [0, 0, 1])],
]
WIDTH = 12


def gather(model: Any, micro: int) -> SourceLosses:
    losses = SourceLosses(SOURCES, TOKEN_BYTES, "cpu")
    for first in range(0, len(ROWS), micro):
        rows = ROWS[first : first + micro]
        batch = make_batch([[(ids, mask) for _, ids, mask in row] for row in rows], WIDTH)
        found = target_log_probs(model, batch)
        lens = [np.array([len(ids) for _, ids, _ in row], dtype=np.uint32) for row in rows]
        owners = [np.array([source for source, _, _ in row], dtype=np.uint16) for row in rows]
        losses.add(batch, -found.values, found.row, found.column, source_map(lens, owners, WIDTH))
    return losses


def by_hand(model: Any, source: int) -> dict[str, float]:
    """Each document alone through the model's own logits, in float64."""
    nats = targets = text_nats = num_bytes = 0.0
    for owner, ids, mask in (document for row in ROWS for document in row):
        with torch.no_grad():
            log_probs = model(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(-1)
        for place in range(1, len(ids)):
            if owner == source and mask[place]:
                loss = -float(log_probs[place - 1, ids[place]])
                nats, targets = nats + loss, targets + 1
                if TOKEN_BYTES[ids[place]]:
                    text_nats, num_bytes = text_nats + loss, num_bytes + float(TOKEN_BYTES[ids[place]])
    return {"loss": nats / targets, "bits_per_byte": text_nats / num_bytes / math.log(2), "tokens": targets}


@pytest.mark.parametrize("micro", [1, 2, 3])
def test_equals_sums_by_hand_whatever_the_micro_batch(tiny_model, micro):
    model = tiny_model()
    figures = gather(model, micro).figures()
    assert list(figures) == ["th", "en"]  # a source without a target has no figures
    for number, name in enumerate(figures):
        assert figures[name] == pytest.approx(by_hand(model, number), rel=1e-5)
    assert [figures[name]["tokens"] for name in figures] == [7, 7]


def test_sums_of_two_ranks_add_up(tiny_model):
    model = tiny_model()
    one = gather(model, 3)
    assert one.figures(one.sums * 2)["th"]["tokens"] == 14
    assert one.figures(one.sums * 2)["th"]["loss"] == pytest.approx(one.figures()["th"]["loss"])


def test_special_tokens_count_in_the_loss_only():
    losses = SourceLosses(["th"], TOKEN_BYTES, "cpu")
    batch = make_batch([[([1, 5, EOS], [0, 1, 1])]])
    where = torch.zeros(2, dtype=torch.int64), torch.tensor([1, 2])
    losses.add(batch, torch.tensor([3.0, 5.0]), *where, source_map([np.array([3])], [np.array([0])], 3))
    expected = {"loss": 4.0, "bits_per_byte": 3.0 / math.log(2) / int(TOKEN_BYTES[5]), "tokens": 2}
    assert losses.figures() == {"th": pytest.approx(expected)}
    losses.start()
    losses.add(batch, torch.tensor([5.0]), where[0][:1], where[1][1:], source_map([np.array([3])], [np.array([0])], 3))
    assert losses.figures() == {"th": {"loss": 5.0, "bits_per_byte": None, "tokens": 1}}


def test_the_map_names_the_source_of_each_token():
    lens, sources = [np.array([2, 3]), np.array([1])], [np.array([4, 1]), np.array([7])]
    assert source_map(lens, sources, 6).tolist() == [[4, 4, 1, 1, 1, 0], [7, 0, 0, 0, 0, 0]]


def test_gradients_are_left_alone(tiny_model):
    model = tiny_model()
    losses = SourceLosses(["th"], TOKEN_BYTES, "cpu")
    batch = make_batch([[([1, 5, 6], [0, 1, 1])]])
    found = target_log_probs(model, batch)
    losses.add(batch, -found.values, found.row, found.column, source_map([np.array([3])], [np.array([0])], 3))
    assert not losses.sums.requires_grad
    found.values.sum().backward()
    assert all(p.grad is not None for p in model.parameters())
