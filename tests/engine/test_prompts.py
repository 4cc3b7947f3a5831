"""Groups: a partition that depends on the prompts alone."""

from __future__ import annotations

import random

import pytest

from seatools.engine.prompts import prompt_groups


@pytest.mark.parametrize("number", [0, 1, 7, 8, 9, 100])
def test_each_prompt_is_in_one_group_of_nearly_equal_size(number):
    draw = random.Random(number)
    given = [[draw.randrange(3) for _ in range(draw.randrange(6))] for _ in range(number)]
    groups = prompt_groups(given, size=8)
    assert sorted(row for group in groups for row in group) == list(range(number))
    assert len(groups) == -(-number // 8)
    assert all(group == sorted(group) for group in groups)
    sizes = {len(group) for group in groups}
    assert not sizes or max(sizes) - min(sizes) <= 1


def test_prompts_that_begin_alike_stand_together():
    given = [[row % 4] * 20 + [row] for row in range(32)]
    assert [{given[row][0] for row in group} for group in prompt_groups(given, size=8)] == [{0}, {1}, {2}, {3}]
