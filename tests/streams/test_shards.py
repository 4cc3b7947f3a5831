"""`--shard I/N`."""

from __future__ import annotations

import pytest

from seatools.streams.errors import UsageError
from seatools.streams.shards import parse_shard


def test_a_shard_counts_from_zero():
    assert [parse_shard(text) for text in (None, "0/1", "2/3")] == [(0, 1), (0, 1), (2, 3)]


@pytest.mark.parametrize("text", ["", "3/3", "1", "-1/2", "1/0", "a/b", "1/2/3", "\u0661/\u0662"])
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(UsageError, match="--shard"):
        parse_shard(text)
