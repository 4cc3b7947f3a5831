"""Which ids may be taken over: a token goes only if no text needs it or anything made from it."""

from __future__ import annotations

import json
from typing import Any

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from seatools.streams.errors import SeaError
from seatools.vocab_extend.reused_ids import reusable_ids, without_pieces

LETTERS = "abc"


def parsed(merges: list[Any], vocabulary: dict[str, int] | None = None, **added: int) -> dict[str, Any]:
    """The letters a, b, c (ids 0 to 2), one token a merge, and added tokens."""
    if vocabulary is None:
        vocabulary = {letter: id for id, letter in enumerate(LETTERS)}
        for merge in merges:
            left, right = merge.split(" ") if isinstance(merge, str) else merge
            vocabulary.setdefault(left + right, len(vocabulary))
    tokens = [{"content": content, "id": id} for content, id in added.items()]
    return {"added_tokens": tokens, "model": {"type": "BPE", "vocab": vocabulary, "merges": merges}}


@pytest.mark.parametrize("merges", [[["a", "b"], ["ab", "c"], ["b", "c"]], ["a b", "ab c", "b c"]])
def test_a_step_goes_only_with_all_that_is_made_from_it(merges: list[Any]) -> None:
    # ids: ab 3, abc 4, bc 5
    assert reusable_ids(parsed(merges), [3]) == []
    assert reusable_ids(parsed(merges), [3, 4]) == [4, 3]
    assert reusable_ids(parsed(merges), {4, 5}) == [4, 5]


def test_the_chain_is_followed_to_its_end() -> None:
    merges = [["a", "b"], ["ab", "c"], ["abc", "a"], ["abca", "b"]]
    assert reusable_ids(parsed(merges), [3, 4, 5]) == []  # 6 is reachable and made from all of them
    assert reusable_ids(parsed(merges), [3, 4, 5, 6]) == [6, 5, 4, 3]


def test_a_token_made_in_two_ways_needs_the_parts_of_both() -> None:
    merges = [["a", "b"], ["b", "c"], ["ab", "c"], ["a", "bc"]]  # ab 3, bc 4, abc 5
    assert reusable_ids(parsed(merges), [3, 4]) == []
    assert reusable_ids(parsed(merges), [3, 5]) == [5, 3]
    assert reusable_ids(parsed(merges), [5]) == [5]


def test_gaps_are_offered_and_the_end_is_not() -> None:
    vocabulary = {"a": 0, "b": 2, "ab": 5}
    assert reusable_ids(parsed([["a", "b"]], vocabulary, pad=8, end=4), []) == [1, 3, 6, 7]


def test_what_is_never_offered() -> None:
    vocabulary = {"a": 0, "<0x41>": 1, "<unk>": 2, "<pad>": 3, "ab": 4, "b": 5, "dead": 6}
    section = parsed([["a", "b"]], vocabulary)
    section["added_tokens"] = [{"content": "<pad>", "id": 3}]
    section["model"]["unk_token"] = "<unk>"
    assert reusable_ids(section, range(7)) == [6, 4]


def test_without_pieces_keeps_form_and_order() -> None:
    vocabulary = parsed([["a", "b"], ["ab", "c"], ["b", "c"]])["model"]["vocab"]
    assert without_pieces(vocabulary, ["b c", "a b", "ab c"], [3, 4]) == ({"a": 0, "b": 1, "c": 2, "bc": 5}, ["b c"])
    assert without_pieces(vocabulary, [["b", "c"]], []) == (vocabulary, [["b", "c"]])
    with pytest.raises(SeaError, match=r"'ab' \(id 3\) cannot be replaced: 'abc' is made from it"):
        without_pieces(vocabulary, [["a", "b"], ["ab", "c"]], [3])


def engine(section: dict[str, Any]) -> tokenizers.Tokenizer:
    return tokenizers.Tokenizer.from_str(json.dumps({"version": "1.0", **section}))


@st.composite
def merge_lists(draw: st.DrawFn) -> list[list[str]]:
    pieces, merges = list(LETTERS), []
    for _ in range(draw(st.integers(1, 12))):
        left, right = draw(st.sampled_from(pieces)), draw(st.sampled_from(pieces))
        if [left, right] not in merges and len(left + right) <= 6:
            merges.append([left, right])
            if left + right not in pieces:
                pieces.append(left + right)
    return merges


TEXTS = [""] + [a + b + c + d + e + f for a in LETTERS for b in LETTERS for c in LETTERS for d in LETTERS
                for e in ("", *LETTERS) for f in ("", *LETTERS)]  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(merges=merge_lists())
def test_no_text_is_encoded_otherwise_and_the_set_is_the_largest(merges: list[list[str]]) -> None:
    section = parsed(merges)
    before = engine(section)
    longest = max(map(len, section["model"]["vocab"]))
    texts = [*TEXTS, *(text * 2 for text in TEXTS)]
    encoded = [before.encode(text).ids for text in texts]
    # Reachability in any context is known here for what occurs in these texts; longer contexts change nothing for
    # a token of at most six letters that is offered, as the next assertion shows on them.
    emitted = {id for row in encoded for id in row}
    dead = set(section["model"]["vocab"].values()) - emitted
    offered = reusable_ids(section, dead)
    assert longest <= 6 and set(offered) <= dead
    for taken in range(len(offered) + 1):  # a command may need fewer ids than there are
        vocabulary, kept = without_pieces(section["model"]["vocab"], merges, offered[:taken])
        after = engine(parsed(kept, vocabulary))
        step = 1 if taken == len(offered) else 7
        assert [after.encode(text).ids for text in texts[::step]] == encoded[::step]
    for id in sorted(dead - set(offered)):
        if id >= len(LETTERS):
            with pytest.raises(SeaError, match="is made from it"):
                without_pieces(section["model"]["vocab"], merges, {*offered, id})
