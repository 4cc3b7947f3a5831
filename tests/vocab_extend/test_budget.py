"""Whose turn it is."""

from __future__ import annotations

import numpy as np
import pytest

from seatools.streams.errors import UsageError
from seatools.vocab_extend.budget import Allotment, Target


def turns(allotment, num, tokens):
    """Who is served, when each token takes one off the text of the one served."""
    tokens, served = np.array(tokens), []
    for _ in range(num):
        number = allotment.next(tokens)
        if number is None:
            break
        served.append(allotment.langs[number])
        allotment.charge([number])
        tokens[number] -= 1
    return "".join(served)


def allotment(balance="weights", base=(100, 100), **more):
    return Allotment("ab", balance, np.array([200] * len(base)), np.array(base), **more)


def test_weights_share_the_tokens_at_every_step():
    assert turns(allotment(weights={"a": 2.0}), 9, [100, 100]) == "aabaabaab"
    assert turns(allotment(weights={"a": 0.0}), 3, [100, 100]) == "bbb"


def test_gain_serves_the_one_that_has_shrunk_least():
    assert turns(allotment("gain"), 4, [50, 100]) == "bbbb"


def test_parity_serves_the_one_that_is_worst_off_and_stops_at_its_target():
    more = {"parallel": {"a": 2, "b": 3}, "reference": 4, "targets": (Target.parse("parity=2"),)}
    # Training text 2 streams, parallel a, b and the reference.
    shares = allotment("parity", base=(9, 9, 50, 30, 10), **more)
    assert shares.next(np.array([9, 9, 50, 30, 10])) == 0
    assert shares.next(np.array([9, 9, 25, 30, 10])) == 1
    assert shares.next(np.array([9, 9, 20, 20, 10])) is None


def test_one_without_pairs_leaves_its_share_to_the_others():
    shares = allotment()
    shares.exhausted.add(0)
    assert turns(shares, 2, [100, 100]) == "bb"


def test_a_target_in_bytes_per_token_is_measured_on_parallel_text_if_there_is_some():
    target = (Target.parse("bytes_per_token=4"),)
    assert allotment(targets=target).next(np.array([50, 51])) == 1
    parallel = allotment(base=(9, 9, 9), targets=target, parallel={"b": 2})
    assert parallel.next(np.array([50, 51, 50])) is None


@pytest.mark.parametrize("text", ["parity", "parity=0", "parity=x", "speed=3", "bytes-per-token=inf", "="])
def test_no_target(text):
    with pytest.raises(UsageError, match="is no target"):
        Target.parse(text)
