"""Which merges may be made."""

from __future__ import annotations

from seatools.vocab_extend.guard import Guard, ProtectedPairs
from seatools.vocab_extend.segments import Segments, unknown

PIECES = {1: "a", 2: "b", 3: "ก", 4: "า", 5: " ", 6: "1"}


def guard(**more):
    settings = {"protected": ProtectedPairs(), "joins": None, "max_bytes": 6} | more
    return Guard(str.encode, PIECES, **settings)


def test_length_scripts_white_space_and_the_base_decide():
    assert guard()(3, 4, "กา") and not guard(max_bytes=5)(3, 4, "กา")
    thai = guard(scripts=frozenset({"Thai"}))
    assert thai(3, 4, "กา") and thai(3, 6, "ก1") and not thai(1, 2, "ab") and not thai(1, 3, "aก")
    assert not guard()(5, 5, "  ")
    assert not guard(base_rule=lambda left, right, piece: left != "a")(1, 2, "ab")
    assert not guard(only={"xy"})(1, 2, "ab") and guard(only={"ab"})(1, 2, "ab")


def test_part_of_a_character_only_if_asked():
    cut = {"data": lambda piece: piece.encode("latin-1")}
    for whole, expected in ((True, False), (False, True)):
        asked = Guard(cut["data"], {1: "\xe0", 2: "\xb8"}, ProtectedPairs(), None, whole_characters=whole)
        assert asked(1, 2, "\xe0\xb8") is expected


def test_protected_pairs_are_those_inside_words():
    pairs = ProtectedPairs(Segments.of([(1, 2, 3), (4,), (2, unknown("x"), 1)]))
    assert (1, 2) in pairs and (2, 3) in pairs
    assert not any(pair in pairs for pair in [(3, 4), (4, 2), (2, 1), (1, 1)])
    assert pairs.chars == {unknown("x")}
    assert (1, 2) not in ProtectedPairs() and (1, 2) not in ProtectedPairs(Segments.of([]))


def test_a_protected_pair_is_refused_and_remembered():
    asked = guard(protected=ProtectedPairs(Segments.of([(1, 2)])))
    assert not asked(1, 2, "ab") and asked(2, 1, "ba")
    assert asked.refused == [(1, 2)]


def test_where_concatenation_decides_every_way_to_spell_the_piece_is_looked_at():
    pieces = {1: "a", 2: "b", 3: "c", 4: "ab", 5: "bc"}
    joins = {piece: id for id, piece in pieces.items()}
    asked = Guard(str.encode, pieces, ProtectedPairs(Segments.of([(1, 5)])), joins)
    assert not asked(4, 3, "abc")  # "a" + "bc" stands in protected text and would join too
    assert asked.refused == [(1, 5)]


def test_what_a_method_left_out_counts_as_refused_if_it_was_frequent_enough():
    asked = guard()
    asked.waiting += [(0, 9, (1, 2)), (0, 4, (2, 1)), (1, 2, (3, 4)), (1, 1, (4, 3))]
    asked.settle({0: 5}, 2)  # stream 0 ended with a merge of five occurrences, stream 1 for want of pairs
    assert asked.refused == [(1, 2), (3, 4)] and not asked.waiting
