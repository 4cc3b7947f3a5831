"""The tree of shared beginnings against a brute force."""

from __future__ import annotations

import random

import pytest

from seatools.engine.shared_beginnings import SHORTEST, shared_beginnings


def made_up(seed: int) -> list[list[int]]:
    draw = random.Random(seed)
    stems = [[draw.randrange(5) for _ in range(draw.randrange(1, 60))] for _ in range(4)]
    found = []
    for _ in range(30):
        stem = [token for stem in draw.choices(stems, k=draw.randrange(3)) for token in stem]
        found.append(stem + [draw.randrange(5) for _ in range(draw.randrange(1, 30))])
    return found + found[:3]


@pytest.mark.parametrize("seed", range(20))
def test_chains_spell_the_beginnings_of_their_prompts(seed):
    given = made_up(seed)
    found = shared_beginnings(given)
    users: dict[int, int] = {}
    for prompt, last in zip(given, found, strict=True):
        chain = last.chain()[::-1] if last is not None else []
        spelled = [token for beginning in chain for token in beginning.ids]
        assert spelled == prompt[: len(spelled)]
        assert len(spelled) < len(prompt)  # the last token is the prompt's own
        assert [beginning.start for beginning in chain] == [
            sum(len(before.ids) for before in chain[:place]) for place in range(len(chain))
        ]
        assert all(len(beginning.ids) >= SHORTEST for beginning in chain)
        for beginning in chain:
            users[id(beginning)] = users.get(id(beginning), 0) + 1
    for last in found:
        for beginning in last.chain() if last is not None else ():
            assert beginning.users == users[id(beginning)] >= 2


@pytest.mark.parametrize("seed", range(20))
def test_what_two_prompts_share_is_held_once(seed):
    given = made_up(seed)
    found = shared_beginnings(given)
    for one in range(len(given)):
        for other in range(one):
            most = min(len(given[one]), len(given[other])) - 1
            common = next((n for n in range(most) if given[one][n] != given[other][n]), most)
            chains = [set(map(id, last.chain())) if (last := found[row]) is not None else set() for row in (one, other)]
            together = chains[0] & chains[1]
            held = sum(len(each.ids) for each in (found[one].chain() if found[one] else ()) if id(each) in together)
            assert common - held < SHORTEST


def test_prompts_without_anything_in_common_hang_on_nothing():
    assert shared_beginnings([[1], [2] * 40, [3] * 40]) == [None] * 3
    assert shared_beginnings([]) == []
