"""The order inside a source."""

from __future__ import annotations

import hashlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from seatools.mix import keyed_order
from seatools.mix.keyed_order import document_numbers, epoch_order


@given(st.integers(0, 500), st.integers(0, 2**32 - 1), st.text(max_size=8), st.integers(0, 10))
def test_every_document_comes_once_an_epoch(num_docs, seed, name, epoch):
    order = epoch_order(num_docs, seed=seed, name=name, epoch=epoch)
    assert sorted(order.tolist()) == list(range(num_docs))


def test_seed_name_and_epoch_each_change_the_order():
    base = {"seed": 0, "name": "th", "epoch": 0}
    orders = [
        epoch_order(100, **{**base, **change}).tolist() for change in ({}, {"seed": 1}, {"name": "en"}, {"epoch": 1})
    ]
    assert len({tuple(order) for order in orders}) == 4
    assert orders[0] == epoch_order(100, **base).tolist()


def test_the_order_is_that_of_splitmix64_in_plain_integers():
    def splitmix(word: int) -> int:
        word = (word + 0x9E3779B97F4A7C15) % 2**64
        word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        word = (word ^ word >> 27) * 0x94D049BB133111EB % 2**64
        return word ^ word >> 31

    digest = hashlib.sha256(b"sea mix\x007\x00th\x002").digest()
    first, second = int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:16], "little")
    expected = sorted(range(12), key=lambda doc: splitmix(splitmix(doc ^ first) ^ second))
    assert epoch_order(12, seed=7, name="th", epoch=2).tolist() == expected


def test_a_document_added_at_the_end_leaves_the_others_in_their_order():
    longer = epoch_order(101, seed=0, name="th", epoch=0).tolist()
    assert [doc for doc in longer if doc != 100] == epoch_order(100, seed=0, name="th", epoch=0).tolist()


def test_the_order_has_no_trend():
    order = epoch_order(20_000, seed=0, name="th", epoch=0)
    assert abs(np.corrcoef(order, np.arange(20_000))[0, 1]) < 0.03


def test_none_keeps_the_order_of_the_files():
    assert epoch_order(5, seed=3, name="th", epoch=1, shuffle="none").tolist() == [0, 1, 2, 3, 4]


def test_slices_are_the_epochs_end_to_end(monkeypatch):
    monkeypatch.setattr(keyed_order, "SLICE", 3)
    parts = list(document_numbers(5, 2, seed=0, name="th", shuffle="global"))
    epochs = [epoch_order(5, seed=0, name="th", epoch=epoch).tolist() for epoch in (0, 1)]
    assert [len(part) for part in parts] == [3, 2, 3, 2]
    assert np.concatenate(parts).tolist() == epochs[0] + epochs[1]
