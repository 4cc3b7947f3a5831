"""The first of equal documents: against a set, and what counts as equal."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from seatools.text.cleaning.exact_duplicates import ExactDuplicates, exact_key


@given(st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=30), max_size=20), st.integers(1, 3))
def test_as_a_set_would(batches, halves):
    """Keys share their first halves when `halves` is small, so that the second decide."""
    seen: set[bytes] = set()
    found = ExactDuplicates()
    for batch in batches:
        keys = [(number % halves).to_bytes(8, "big") + number.to_bytes(8, "big") for number in batch]
        expected = []
        for key in keys:
            expected.append(key not in seen)
            seen.add(key)
        assert found.is_new(keys).tolist() == expected
    assert found.num_keys == len(seen)


def test_memory_is_16_bytes_a_document():
    numbers = random.Random(0)
    found = ExactDuplicates()
    for _ in range(40):
        found.is_new([numbers.randbytes(16) for _ in range(512)])
    assert sum(run.nbytes for run in found._runs) == 16 * 40 * 512
    assert len(found._runs) <= 8  # runs of doubling length


def test_what_is_equal():
    assert exact_key("cafe\u0301  au\n\nlait ") == exact_key("caf\u00e9 au lait")
    assert exact_key("Café") != exact_key("café")
