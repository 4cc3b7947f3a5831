"""A stream cut into batches."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from seatools.streams.batches import batches, record_batches
from seatools.streams.records import Record


def test_a_batch_ends_with_the_item_that_fills_it() -> None:
    assert list(batches(["aa", "b", "cccc", "d"], len, max_size=3)) == [["aa", "b"], ["cccc"], ["d"]]
    assert list(batches(["aa", "b", "cccc", "d"], len, max_size=99, max_items=3)) == [["aa", "b", "cccc"], ["d"]]


@given(st.lists(st.text()), st.integers(1, 9), st.integers(1, 5))
def test_batches_hold_every_item_in_order(texts: list[str], max_size: int, max_items: int) -> None:
    found = list(batches(texts, len, max_size=max_size, max_items=max_items))
    assert [text for batch in found for text in batch] == texts
    assert all(0 < len(batch) <= max_items and sum(map(len, batch[:-1])) < max_size for batch in found)


def test_records_come_a_thousand_or_four_mebibytes_at_a_time() -> None:
    small, large = Record(b"{}", {}, "a", 1), Record(b" " * (4 << 20), {}, "a", 1)
    assert [len(batch) for batch in record_batches([small] * 1500)] == [1024, 476]
    assert [len(batch) for batch in record_batches([small, large, large])] == [2, 1]
