"""The tree holds each beginning once, and its batches hold each of its tokens once, behind what it needs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prefix_docs import odd_ones, questions

from seatools.engine.prefix_batches import steps
from seatools.engine.prefix_tree import PrefixTree, prefix_tree

DOCS = st.lists(
    st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=9).map(
        lambda pairs: ([token for token, _ in pairs], [int(wanted) for _, wanted in pairs])
    ),
    max_size=12,
)


def beginning(tree: PrefixTree, slot: int) -> tuple[int, ...]:
    """The tokens from the beginning of a document to `slot`."""
    segment = int(np.searchsorted(tree.starts, slot, side="right")) - 1
    ids = tree.ids[tree.starts[segment] : slot + 1].tolist()
    while tree.parents[segment] >= 0:
        segment = int(tree.parents[segment])
        ids = tree.ids[tree.starts[segment] : tree.starts[segment + 1]].tolist() + ids
    return tuple(ids)


@settings(deadline=None, max_examples=80)
@given(DOCS)
def test_every_beginning_that_is_needed_is_in_the_tree_once(docs):
    tree = prefix_tree(docs)
    needed, wanted = set(), []
    for number, (ids, mask) in enumerate(docs):
        targets = [t for t in range(1, len(ids)) if mask[t]]
        needed |= {tuple(ids[:n]) for n in range(1, max(targets, default=0) + 1)}
        wanted += [(number, tuple(ids[:t]), ids[t]) for t in targets]
    slots = [beginning(tree, slot) for slot in range(len(tree.ids))]
    assert len(slots) == len(needed)
    assert set(slots) == needed
    assert [len(ids) - 1 for ids in slots] == tree.positions.tolist()
    pairs = list(zip(tree.slots.tolist(), tree.targets.tolist(), strict=True))
    assert pairs == sorted(set(pairs))
    found = [(int(o), slots[pairs[p][0]], pairs[p][1]) for o, p in zip(tree.owner, tree.pair, strict=True)]
    assert sorted(found) == sorted(wanted)


@settings(deadline=None, max_examples=80)
@given(DOCS, st.integers(1, 20))
def test_steps_compute_each_slot_once_behind_its_kept_path(docs, budget):
    tree = prefix_tree(docs)
    kept: list[int] = []
    done: list[int] = []
    for step in steps(tree, budget):
        assert 0 < step.size <= budget
        assert step.path <= len(kept)
        here = [slot for part in step.ranges for slot in range(*part)]
        known = {beginning(tree, slot) for slot in here} | {beginning(tree, slot) for slot in kept[: step.path]}
        for slot in here:
            ids = beginning(tree, slot)
            assert all(ids[:n] in known for n in range(1, len(ids)))
        if step.keep:
            assert len(step.ranges) == 1
            kept[step.path :] = here
        done += here
    assert sorted(done) == list(range(len(tree.ids)))


def test_letters_of_a_question_are_one_place_and_their_tokens_are_never_fed():
    prompt = list(range(10, 30))
    docs = [([*prompt, letter], [0] * 20 + [1]) for letter in (3, 4, 5, 6)]
    tree = prefix_tree(docs)
    assert tree.ids.tolist() == prompt
    assert tree.slots.tolist() == [19] * 4
    assert tree.targets.tolist() == [3, 4, 5, 6]


def test_a_shared_beginning_is_read_once():
    docs = questions()
    tree = prefix_tree(docs)
    assert len(tree.ids) == len({tuple(ids[:n]) for ids, _ in docs for n in range(1, len(ids))})
    assert len(tree.ids) < sum(len(ids) for ids, _ in docs) / 4


def test_scores_are_sums_by_document():
    docs = odd_ones()
    tree = prefix_tree(docs)
    counts = tree.scores(np.ones(len(tree.slots)))
    assert counts.tolist() == [sum(mask[1:]) for _, mask in docs]


def test_a_mask_of_another_length_is_refused():
    with pytest.raises(ValueError, match="3 ids but a loss mask of 2"):
        prefix_tree([([1, 2, 3], [0, 1])])


def test_many_documents_each_the_beginning_of_the_next_need_no_deep_recursion():
    ids = list(range(3, 1503))
    docs = [(ids[:n], [0] * (n - 1) + [1]) for n in range(2, 1501)]
    tree = prefix_tree(docs)
    assert len(tree.ids) == 1499
    assert sum(step.size for step in steps(tree, 7)) == 1499
