"""New characters come before the merges that use them."""

from __future__ import annotations

from seatools.vocab_extend.character_seed import SeedMerges, wanted_characters


def seeds(budget=10, taken=(), forbidden=()):
    return SeedMerges(
        first_id=10,
        budget=budget,
        pieces={1: "a", 2: "b", 3: "c", 4: "d"},
        taken={"a", "b", "c", "d", *taken},
        allowed=lambda *pair: pair not in forbidden,
    )


def test_characters_come_most_frequent_first_without_rare_ones_spaces_and_controls():
    counts = {"ข": 5, "ก": 9, "ค": 1, "\n": 99, " ": 99, "\u3000": 99, "\x07": 9, "\u200d": 7, "\ue000": 9}
    assert wanted_characters(counts, 2) == ["ก", "\u200d", "ข"]


def test_characters_with_the_same_first_bytes_share_a_merge():
    made = seeds()
    assert made.make([1, 2, 3]) and made.make([1, 2, 4])
    assert made.pairs == {(1, 2): 10, (10, 3): 11, (10, 4): 12}


def test_another_bracketing_is_taken_where_the_base_has_the_prefix_already():
    made = seeds(taken=["ab"])
    assert made.make([1, 2, 3])
    assert made.pairs == {(2, 3): 10, (1, 10): 11}


def test_a_character_that_cannot_be_bracketed_is_left():
    made = seeds(taken=["ab", "bc"])
    assert not made.make([1, 2, 3])
    assert made.pairs == {}


def test_protected_pairs_are_not_used():
    made = seeds(forbidden=[(1, 2)])
    assert made.make([1, 2, 3])
    assert (1, 2) not in made.pairs


def test_the_budget_is_never_passed():
    made = seeds(budget=2)
    assert made.make([1, 2, 3]) and not made.make([1, 3])
    assert len(made.pairs) == 2
