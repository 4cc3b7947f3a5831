"""Trees for wanted pieces against all binary trees, tried one by one."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from seatools.vocab_extend.bracketing import close, gains, worthwhile
from seatools.vocab_extend.wanted_pieces import Aligned, steps


def anything(left, right, piece):
    return True


def new_nodes(parts, free):
    """Every binary tree over `parts`, cut off at pieces that are there already: the merges that it adds."""
    if len(parts) == 1 or "".join(parts) in free:
        yield frozenset()
        return
    for cut in range(1, len(parts)):
        pair = "".join(parts[:cut]), "".join(parts[cut:])
        for left in new_nodes(parts[:cut], free):
            for right in new_nodes(parts[cut:], free):
                yield left | right | {pair}


PARTS = st.lists(st.sampled_from(["a", "b", "bc", "d", "ef"]), min_size=2, max_size=5, unique=True).map(tuple)


@settings(max_examples=300, deadline=None)
@given(PARTS, st.data())
def test_the_fewest_helpers_of_all_trees(parts, data):
    inner = [parts[at:end] for at in range(len(parts)) for end in range(at + 2, len(parts) + 1)]
    inner.remove(parts)
    inner_sets = st.sets(st.sampled_from(inner), max_size=3) if inner else st.just(set())
    known = {*parts, *map("".join, data.draw(inner_sets))}
    others = {"".join(some): Aligned(data.draw(st.integers(0, 2)), some) for some in data.draw(inner_sets)}
    pairs = sorted({pair for tree in new_nodes(parts, set()) for pair in tree})
    forbidden = data.draw(st.sets(st.sampled_from(pairs), max_size=3))

    def allowed(left, right, piece):
        assert left + right == piece
        return (left, right) not in forbidden

    before = close(others, known, allowed)
    piece = "".join(parts)
    closure = close({piece: Aligned(3, parts), **others}, known, allowed)
    free = before.parents.keys()
    possible = [
        tree
        for tree in new_nodes(parts, free)
        if not tree & forbidden and not {"".join(pair) for pair in tree} & (known | before.lost)
    ]
    added = {pair for made, pair in closure.parents.items() if made not in free}
    if possible:
        assert added in possible
        assert len(added) == min(map(len, possible))
        needed = steps(piece, closure.parents) - {piece} - others.keys()
        assert all(closure.helpers[helper] >= 3 for helper in needed)
    else:
        assert piece in closure.lost
        assert not added


LEAVES = ["a", "b", "c", "ab", "d"]


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(
        st.lists(st.sampled_from(LEAVES), min_size=2, max_size=5).map(tuple), st.integers(0, 5), max_size=8
    ),
    st.sets(st.tuples(st.sampled_from(LEAVES), st.sampled_from(LEAVES)), max_size=4),
)
def test_every_tree_is_well_founded(texts, forbidden):
    wanted = {"".join(parts): Aligned(count, parts) for parts, count in texts.items()}
    known = set(LEAVES)

    def allowed(left, right, piece):
        return (left, right) not in forbidden

    closure = close(wanted, known, allowed)
    assert closure.wanted.keys() | closure.lost == wanted.keys()
    assert not closure.wanted.keys() & closure.lost
    for piece, (left, right) in closure.parents.items():
        assert left + right == piece
        assert allowed(left, right, piece)
        assert piece not in known
        assert {left, right} <= closure.parents.keys() | known
    assert closure.parents.keys() == closure.wanted.keys() | closure.helpers.keys()
    assert not closure.helpers.keys() & wanted.keys()
    for helper, count in closure.helpers.items():
        needing = [piece for piece in closure.wanted if helper in steps(piece, closure.parents)]
        assert needing
        assert count == sum(wanted[piece].uses for piece in needing)


def test_a_wanted_piece_is_a_free_step():
    wanted = {"abc": Aligned(9, ("a", "b", "c")), "bc": Aligned(1, ("b", "c"))}
    closure = close(wanted, set("abc"), anything)
    assert closure.parents == {"bc": ("b", "c"), "abc": ("a", "bc")}
    assert not closure.helpers


def test_a_wanted_piece_is_a_free_step_however_rare():
    # Over bc one helper is enough, from the left it would be two: ab and abc.
    wanted = {"abcd": Aligned(9, ("a", "b", "c", "d")), "bc": Aligned(0, ("b", "c"))}
    closure = close(wanted, set("abcd"), anything)
    assert closure.helpers == {"abc": 9}
    assert closure.parents["abc"] == ("a", "bc")


def test_pieces_share_a_helper():
    # abx alone could go over ab or bx; aby has only ab (by is the base's), which then serves both.
    wanted = {"aby": Aligned(5, ("a", "b", "y")), "abx": Aligned(3, ("a", "b", "x"))}
    closure = close(wanted, {*"abxy", "by"}, anything)
    assert closure.helpers == {"ab": 8}


def test_the_step_that_the_text_holds_most_often_wins():
    wanted = {"abc": Aligned(1, tuple("abc")), "ab": Aligned(2, tuple("ab")), "bc": Aligned(7, tuple("bc"))}
    assert close(wanted, set("abc"), anything).parents["abc"] == ("a", "bc")


def test_no_step_spells_a_piece_of_the_base():
    closure = close({"abc": Aligned(9, ("a", "b", "c"))}, {"a", "b", "c", "ab", "bc"}, anything)
    assert closure.lost == {"abc"}


def test_a_piece_of_the_base_is_not_made_again():
    closure = close({"ab": Aligned(9, ("a", "b"))}, {"a", "b", "ab"}, anything)
    assert closure.lost == {"ab"}
    assert not closure.parents


def test_a_piece_is_lost_or_made_never_both():
    # The base cuts "abc" otherwise inside "abcd" (no real one does): what was refused is no step either.
    wanted = {"abc": Aligned(9, ("ab", "c")), "abcd": Aligned(1, ("a", "b", "c", "d"))}
    closure = close(wanted, {*"abcd", "ab", "cd"}, lambda left, right, piece: (left, right) != ("ab", "c"))
    assert closure.lost == {"abc"}
    assert closure.parents == {"bc": ("b", "c"), "bcd": ("bc", "d"), "abcd": ("a", "bcd")}


def test_a_helper_costs_what_it_saves():
    wanted = {
        "abc": Aligned(10, ("a", "b", "c")),  # saves 20 with one helper, ab, shared with abd
        "abd": Aligned(5, ("a", "b", "d")),  # saves 10
        "xy": Aligned(4, ("x", "y")),  # saves 4
        "uvw": Aligned(1, ("u", "v", "w")),  # saves 2 with a helper of its own
    }
    closure = close(wanted, set("abcdxyuvw"), anything)
    assert closure.helpers == {"ab": 15, "uv": 1}
    # abc bears two thirds of ab, abd one third.
    assert gains(closure) == {"abc": 20 / (1 + 2 / 3), "abd": 10 / (1 + 1 / 3), "xy": 4, "uvw": 1}
    assert worthwhile(closure, 2) == {"ab"}
    assert worthwhile(closure, 1) == {"ab", "uv"}
    assert worthwhile(closure, 12) == {"ab"}
    assert worthwhile(closure, 13) == set()
