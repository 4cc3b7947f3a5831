"""The order of rows: each once an epoch, a pure function of the step."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatools.engine.row_order import rows_of_step, steps_for_epochs


def order(num_steps: int, *, batch_size: int, num_rows: int, seed: int = 0) -> list[int]:
    rows = [rows_of_step(step, batch_size=batch_size, num_rows=num_rows, seed=seed) for step in range(1, num_steps + 1)]
    assert all(len(row) == batch_size for row in rows)
    return [number for row in rows for number in row]


@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_each_epoch_reads_every_row_once(num_rows: int, batch_size: int, seed: int) -> None:
    num_steps = -(-3 * num_rows // batch_size)
    found = order(num_steps, batch_size=batch_size, num_rows=num_rows, seed=seed)
    for epoch in range(3):
        assert sorted(found[epoch * num_rows : (epoch + 1) * num_rows]) == list(range(num_rows))


@given(st.integers(1, 30), st.integers(1, 9), st.integers(1, 9))
def test_the_order_does_not_depend_on_the_batch_size(num_rows: int, one: int, other: int) -> None:
    first = order(other * 3, batch_size=one, num_rows=num_rows)
    second = order(one * 3, batch_size=other, num_rows=num_rows)
    assert first == second


def test_a_step_is_the_same_asked_alone_or_after_others() -> None:
    alone = rows_of_step(7, batch_size=4, num_rows=9, seed=3)
    order(6, batch_size=4, num_rows=9, seed=5)
    assert rows_of_step(7, batch_size=4, num_rows=9, seed=3) == alone


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    found = order(2, batch_size=50, num_rows=50)
    assert found[:50] != found[50:]
    assert order(1, batch_size=50, num_rows=50, seed=1) != found[:50]


@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 30))
def test_without_shuffling_rows_come_as_they_are(num_rows: int, batch_size: int, step: int) -> None:
    found = rows_of_step(step, batch_size=batch_size, num_rows=num_rows, seed=3, shuffled=False)
    whole = list(range(num_rows)) * (step * batch_size // num_rows + 1)
    assert found == whole[(step - 1) * batch_size : step * batch_size]


def test_the_order_is_pinned() -> None:
    """A changed value means that runs begun before the change resume in another order."""
    assert order(3, batch_size=4, num_rows=6) == PINNED


PINNED = [4, 5, 3, 1, 0, 2, 2, 1, 4, 0, 3, 5]


@pytest.mark.parametrize(
    ("epochs", "batch_size", "num_rows", "steps"),
    [(1, 4, 8, 2), (1, 4, 9, 3), (0.5, 4, 8, 1), (1.5, 1, 3, 5), (0.001, 4, 8, 1), (0.1 + 0.2, 1, 10, 3), (3, 8, 1, 1)],
)
def test_steps_for_epochs_read_as_many_rows_or_a_little_more(
    epochs: float, batch_size: int, num_rows: int, steps: int
) -> None:
    assert steps_for_epochs(epochs, batch_size=batch_size, num_rows=num_rows) == steps


def test_a_batch_larger_than_the_data_repeats_it_evenly() -> None:
    assert Counter(rows_of_step(1, batch_size=10, num_rows=5, seed=0)) == dict.fromkeys(range(5), 2)
