"""How a step is cut into passes: by tokens, the same number on every rank, and never larger than the estimate."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatools.dpo.passes import PASS_TOKENS_CPU, PASS_TOKENS_GPU, largest_pass, passes
from seatools.engine.row_order import micro_batches

SIZES = st.lists(st.integers(2, 3000), min_size=1, max_size=40)


@given(SIZES, st.integers(1, 4), st.booleans(), st.integers(0, 3))
def test_every_pair_is_in_one_pass_and_no_pass_is_over_its_tokens(
    sizes: list[int], ranks: int, on_cpu: bool, micro: int
) -> None:
    of = dict(enumerate(sizes))
    every = [passes(list(of), of, micro_batch=micro, on_cpu=on_cpu, rank=r, ranks=ranks) for r in range(ranks)]
    assert len({len(mine) for mine in every}) == 1
    assert [[n for part in mine for n in part] for mine in every] == [list(of)[r::ranks] for r in range(ranks)]
    most = PASS_TOKENS_CPU if on_cpu else PASS_TOKENS_GPU
    limit = largest_pass(sizes, batch_size=len(sizes), micro_batch=micro, on_cpu=on_cpu, ranks=ranks)
    for part in (part for mine in every for part in mine):
        together = sum(of[n] for n in part)
        assert together <= limit and len(part) <= (micro or 40)
        assert micro or together <= most or len(part) == 1


def test_one_pair_ten_times_as_long_makes_no_pass_larger_than_itself() -> None:
    sizes = {n: 100 for n in range(32)}
    plain = passes(range(32), sizes, micro_batch=0, on_cpu=True)
    assert max(map(len, plain)) == 5
    longer = passes(range(32), sizes | {5: 1000}, micro_batch=0, on_cpu=True)
    assert max(sum((sizes | {5: 1000})[n] for n in part) for part in longer) == 1000
    assert largest_pass([*sizes.values(), 9000], batch_size=32, micro_batch=0, on_cpu=True) == 9000


@pytest.mark.parametrize("micro", [1, 2, 5])
def test_a_number_of_pairs_that_is_asked_for_is_kept(micro: int) -> None:
    sizes = {n: 5000 for n in range(7)}
    for rank in (0, 1):
        found = passes(range(7), sizes, micro_batch=micro, on_cpu=True, rank=rank, ranks=2)
        assert found == micro_batches(range(7), micro, rank=rank, ranks=2)
