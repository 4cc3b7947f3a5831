"""The order inside a source."""

from __future__ import annotations

import hashlib
import math
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from seatools.mix import keyed_order
from seatools.mix.keyed_order import epoch_order, nth_documents, permuted

KEY = {"seed": 0, "name": "th"}


@given(st.integers(0, 150), st.integers(0, 2**32 - 1), st.text(max_size=8), st.integers(0, 10))
def test_every_document_comes_once_an_epoch(num_docs, seed, name, epoch):
    order = epoch_order(num_docs, seed=seed, name=name, epoch=epoch)
    assert np.array_equal(np.sort(order), np.arange(num_docs))


@given(st.integers(1, 2**63 - 1), st.data())
def test_no_two_positions_of_a_huge_source_give_one_document(num_docs, data):
    positions = data.draw(st.sets(st.integers(0, num_docs - 1), min_size=1, max_size=30))
    docs = permuted(np.array(sorted(positions)), num_docs, **KEY, epoch=0).tolist()
    assert len(set(docs)) == len(positions) and all(0 <= doc < num_docs for doc in docs)


def test_seed_name_and_epoch_each_change_the_order():
    base = {"seed": 0, "name": "th", "epoch": 0}
    orders = [
        epoch_order(100, **{**base, **change}).tolist() for change in ({}, {"seed": 1}, {"name": "en"}, {"epoch": 1})
    ]
    assert len({tuple(order) for order in orders}) == 4
    assert orders[0] == epoch_order(100, **base).tolist()


def test_the_order_is_that_of_the_network_in_plain_integers():
    def splitmix(word: int) -> int:
        word = (word + 0x9E3779B97F4A7C15) % 2**64
        word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        word = (word ^ word >> 27) * 0x94D049BB133111EB % 2**64
        return word ^ word >> 31

    digest = hashlib.sha512(b"sea mix\x007\x00th\x002").digest()
    keys = [int.from_bytes(digest[i : i + 8], "little") for i in range(0, 64, 8)]
    width = math.ceil(math.sqrt(11))
    height = math.ceil(11 / width)

    def document(number: int) -> int:
        row, column = divmod(number, width)
        for even, odd in zip(keys[::2], keys[1::2], strict=True):
            column = (column + ((splitmix(row ^ even) >> 32) * width >> 32)) % width
            row = (row + ((splitmix(column ^ odd) >> 32) * height >> 32)) % height
        number = row * width + column
        return number if number < 11 else document(number)

    assert epoch_order(11, seed=7, name="th", epoch=2).tolist() == [document(number) for number in range(11)]


def test_the_order_has_no_trend_and_no_runs():
    order = epoch_order(20_000, **KEY, epoch=0)
    assert abs(np.corrcoef(order, np.arange(20_000))[0, 1]) < 0.03
    assert abs(np.corrcoef(order[1:], order[:-1])[0, 1]) < 0.03
    assert sum(abs(a - b) == 1 for a, b in pairwise(order.tolist())) < 10  # 2 expected


def test_every_document_of_a_small_source_comes_first_equally_often():
    first = [epoch_order(5, seed=seed, name="th", epoch=0)[0] for seed in range(2000)]
    counts = np.bincount(first, minlength=5)
    assert ((counts - 400) ** 2 / 400).sum() < 18.5  # chi-squared with 4 degrees: p = 0.001


def test_none_keeps_the_order_of_the_files():
    assert epoch_order(5, seed=3, name="th", epoch=1, shuffle="none").tolist() == [0, 1, 2, 3, 4]


def test_slices_are_the_epochs_end_to_end(monkeypatch):
    epochs = [epoch_order(5, **KEY, epoch=epoch).tolist() for epoch in (0, 1)]
    monkeypatch.setattr(keyed_order, "SLICE", 3)
    assert nth_documents(0, 10, 5, **KEY, shuffle="global").tolist() == epochs[0] + epochs[1]


@given(st.integers(1, 9), st.integers(0, 12), st.integers(0, 12), st.sampled_from(["none", "global"]))
def test_any_stretch_of_the_epochs_can_be_had_alone(num_docs, start, length, shuffle):
    epochs = range(-(-(start + length) // num_docs) + 1)
    whole = np.concatenate([epoch_order(num_docs, **KEY, epoch=epoch, shuffle=shuffle) for epoch in epochs])
    part = nth_documents(start, start + length, num_docs, **KEY, shuffle=shuffle)
    assert part.tolist() == whole[start : start + length].tolist()
