"""The tally of a place against counting by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seatools.engine.neuron_layout import Place, WeightView
from seatools.lsn_detect.tally import Tally, ranks_of


def place(size: int) -> Place:
    return Place(0, "ffn", size, (WeightView("mlp.down_proj", size, 1),))


def tally(size: int, top_k: tuple[float, ...] = (), thresholds: tuple[float, ...] = ()) -> Tally:
    return Tally(place(size), "cpu", top_k=top_k, thresholds=thresholds)


@st.composite
def documents(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """(importance [docs, n] with equals and zeros among them, halves [docs])."""
    n, docs = draw(st.integers(1, 9)), draw(st.integers(1, 6))
    values = st.sampled_from([0.0, 0.25, 1.0, 1.0 + 2**-40, 3.5, 1e30])
    rows = draw(st.lists(st.lists(values, min_size=n, max_size=n), min_size=docs, max_size=docs))
    halves = draw(st.lists(st.integers(0, 1), min_size=docs, max_size=docs))
    return np.array(rows), np.array(halves)


@given(documents(), st.sampled_from([torch.float64, torch.float32]))
def test_every_array_is_what_counting_by_hand_gives(made, dtype):
    rows, halves = made
    importance = torch.tensor(rows, dtype=dtype)
    rows, n = importance.double().numpy(), rows.shape[1]
    top_k, thresholds = (0.1, 0.5, 1.0), (0.25, 1.0)
    ours = tally(n, top_k, thresholds)
    ours.add(importance, torch.tensor(halves))
    arrays = ours.arrays()
    ranks = np.array([[n + 1 if x == 0 else 1 + (row > x).sum() for x in row] for row in rows])
    for half in (0, 1):
        own, own_ranks = rows[halves == half], ranks[halves == half]
        np.testing.assert_allclose(arrays["importance"][half], own.sum(0), rtol=1e-15)
        np.testing.assert_allclose(arrays["importance_squares"][half], (own**2).sum(0), rtol=1e-15)
        assert arrays["least"][half].tolist() == own.min(0, initial=np.inf).tolist()
        assert arrays["worst_rank"][half].tolist() == own_ranks.max(0, initial=0).tolist()
        for number, share in enumerate(top_k):
            chosen = (own_ranks <= max(1, round(share * n))) & (own > 0)
            assert arrays["selected"][number, half].tolist() == chosen.sum(0).tolist()
        for number, threshold in enumerate(thresholds):
            assert arrays["exceeding"][number, half].tolist() == (own >= threshold).sum(0).tolist()


@given(documents(), st.data())
def test_parts_merge_to_the_whole_by_sum_minimum_and_maximum(made, data):
    rows, halves = torch.tensor(made[0]), torch.tensor(made[1])
    cut = data.draw(st.integers(0, len(rows)))
    whole, first, second = (tally(rows.shape[1], (0.3,), (1.0,)) for _ in range(3))
    whole.add(rows, halves)
    first.add(rows[:cut], halves[:cut])
    second.add(rows[cut:], halves[cut:])
    ours, theirs = first.arrays(), second.arrays()
    for name, array in whole.arrays().items():
        join = {"least": np.minimum, "worst_rank": np.maximum}.get(name, np.add)
        np.testing.assert_allclose(join(ours[name], theirs[name]), array, rtol=1e-15)


def test_numbers_that_float32_cannot_tell_apart_have_ranks_of_their_own():
    row = torch.tensor([[1.0, 1.0 + 1e-12, 1.0 - 1e-12]], dtype=torch.float64)
    assert ranks_of(row).tolist() == [[2, 1, 3]]
    assert ranks_of(row.float()).tolist() == [[1, 1, 1]]


def test_types_and_shapes_are_those_of_the_interface():
    arrays = tally(5, (0.1, 0.2), (1.0, 2.0, 3.0)).arrays()
    assert {name: (array.dtype.name, array.shape) for name, array in arrays.items()} == {
        "importance": ("float64", (2, 5)), "importance_squares": ("float64", (2, 5)), "least": ("float64", (2, 5)),
        "worst_rank": ("int32", (2, 5)), "selected": ("int32", (2, 2, 5)), "exceeding": ("int32", (3, 2, 5)),
    }  # fmt: skip


def test_many_documents_at_once_are_counted_as_one_by_one(monkeypatch):
    rows = torch.rand(7, 4, generator=torch.Generator().manual_seed(0))
    halves = torch.arange(7) % 2
    at_once, by_one = tally(4, (0.5,)), tally(4, (0.5,))
    at_once.add(rows, halves)
    monkeypatch.setattr("seatools.lsn_detect.tally._NUMBERS_AT_ONCE", 4)
    by_one.add(rows, halves)
    for name, array in at_once.arrays().items():
        np.testing.assert_allclose(by_one.arrays()[name], array, rtol=1e-15)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_ranks_on_cuda_are_those_of_a_cpu():
    rows = torch.randint(0, 50, (5, 300), generator=torch.Generator().manual_seed(0)).float()
    assert torch.equal(ranks_of(rows.cuda()).cpu(), ranks_of(rows))
