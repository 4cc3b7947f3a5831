"""Continued BPE against plain BPE that recounts everything, and against the trainer of tokenizers."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seatools.vocab_extend.continued_bpe import ContinuedBpe, count_tokens
from seatools.vocab_extend.segments import BREAK, Segments, unknown

LETTERS = {1: "a", 2: "b", 3: "c", 4: "d"}
words_of = st.dictionaries(
    st.lists(st.integers(1, 4), min_size=1, max_size=12).map(tuple), st.integers(1, 5), min_size=1, max_size=8
)


def learner(words, pieces=LETTERS, joins=False, **more):
    more = {"first_id": 10, "may_merge": lambda left, right, piece: True} | more
    pieces = dict(pieces)
    return ContinuedBpe(
        Segments.of(list(words)),
        np.array(list(words.values())),
        pieces,
        set(pieces.values()),
        joins={piece: id for id, piece in pieces.items()} if joins else None,
        **more,
    )


def found(words, num=20, **more):
    return [(m.left, m.right, m.piece, m.count) for m in learner(words, **more).learn(num)]


def follow(word, pieces, known):
    """Join neighbours that spell a known piece, the best one first, until none is left."""
    while True:
        options = [
            (known[p], at) for at in range(len(word) - 1) if (p := pieces[word[at]] + pieces[word[at + 1]]) in known
        ]
        if not options:
            return word
        token, at = min(options)
        word = (*word[:at], token, *word[at + 2 :])


def plain(words, num, pieces=LETTERS, *, min_count=2, joins=False, allowed=lambda left, right, piece: True):
    """BPE by its definition: count all pairs, join the most frequent one, start over."""
    pieces, known = dict(pieces), {piece: id for id, piece in pieces.items()}
    state = [(word, count) for word, count in words.items()]
    merges = []
    while len(merges) < num:
        counts = Counter()
        for word, count in state:
            for pair in zip(word, word[1:], strict=False):
                counts[pair] += count
        able = [
            (-count, *pair)
            for pair, count in counts.items()
            if count >= min_count
            and (piece := pieces[pair[0]] + pieces[pair[1]]) not in known
            and allowed(*pair, piece)
        ]
        if not able:
            break
        negative, left, right = min(able)
        token, piece = 10 + len(merges), pieces[left] + pieces[right]
        merges.append((left, right, piece, -negative))
        pieces[token] = piece
        known[piece] = token
        after = []
        for word, count in state:
            joined, at = [], 0
            while at < len(word):
                pair = word[at : at + 2]
                if len(pair) == 2 and (pieces[pair[0]] + pieces[pair[1]] == piece if joins else pair == (left, right)):
                    joined.append(token)
                    at += 2
                else:
                    joined.append(word[at])
                    at += 1
            after.append((follow(tuple(joined), pieces, known) if joins else tuple(joined), count))
        state = after
    return merges


@given(words=words_of, min_count=st.integers(1, 3))
@settings(max_examples=300, deadline=None)
def test_merges_are_those_of_plain_bpe(words, min_count):
    assert found(words, min_count=min_count) == plain(words, 20, min_count=min_count)


@given(words=words_of, forbidden=st.sets(st.tuples(st.integers(1, 4), st.integers(1, 4))))
@settings(max_examples=100, deadline=None)
def test_a_forbidden_pair_is_passed_over(words, forbidden):
    def allowed(left, right, piece):
        return (left, right) not in forbidden and len(piece) < 5

    assert found(words, may_merge=allowed) == plain(words, 20, allowed=allowed)


def test_where_concatenation_decides_the_merges_are_those_of_plain_bpe():
    rng = random.Random(1)
    pieces = {1: "a", 2: "b", 3: "c", 4: "d", 5: "ab", 6: "bcd"}
    known = {piece: id for id, piece in pieces.items()}
    for _ in range(300):
        words = Counter()
        for _ in range(rng.randint(1, 8)):
            word = tuple(rng.randint(1, 6) for _ in range(rng.randint(1, 10)))
            words[follow(word, pieces, known)] += rng.randint(1, 4)
        assert found(words, pieces=pieces, joins=True) == plain(words, 20, pieces, joins=True)


def test_a_known_piece_that_a_new_one_completes_follows_at_once():
    pieces = {1: "a", 2: "b", 3: "c", 4: "d", 5: "abc"}
    run = learner({(1, 2, 3): 2, (1, 2, 4): 3}, pieces, joins=True)
    run.step()
    ids, counts, _ = run.words()
    assert [(ids.word(at), int(counts[at])) for at in range(2)] == [((5,), 2), ((10, 4), 3)]


@given(words=words_of, seed=st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_the_order_of_the_words_changes_nothing(words, seed):
    shuffled = list(words.items())
    random.Random(seed).shuffle(shuffled)
    assert found(dict(shuffled)) == found(words)


def test_pairs_that_wait_for_a_lower_count_come_in_time(monkeypatch):
    rng = random.Random(5)
    words = Counter(tuple(rng.choices([1, 2, 3, 4], [8, 4, 2, 1], k=9)) for _ in range(60))
    expected = plain(words, 60, min_count=1)
    monkeypatch.setattr(ContinuedBpe, "_first_floor", lambda self, stream: 64)  # most pairs stay outside at first
    assert found(words, num=60, min_count=1) == expected


def test_the_trainer_of_tokenizers_makes_the_same_merges_from_ids_as_characters():
    import tokenizers
    from tokenizers.trainers import BpeTrainer

    rng = random.Random(3)
    base = [f"<{id}>" for id in range(300)]
    words = [[min(int(rng.expovariate(0.02)), 299) for _ in range(rng.randint(1, 9))] for _ in range(2000)]
    as_text = ["".join(chr(0x4E00 + id) for id in word) for word in words]
    trained = tokenizers.Tokenizer(tokenizers.models.BPE())
    trained.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    used = sorted({id for word in words for id in word})
    alphabet = [chr(0x4E00 + id) for id in used]
    trainer = BpeTrainer(
        vocab_size=len(used) + 400,
        min_frequency=2,
        initial_alphabet=alphabet,
        show_progress=False,
        limit_alphabet=len(used),
    )
    trained.train_from_iterator([" ".join(as_text)], trainer)
    import json

    theirs = [tuple(pair) for pair in json.loads(trained.to_str())["model"]["merges"]]
    run = ContinuedBpe(
        Segments.of(words), np.ones(len(words), np.int64), dict(enumerate(base)), set(base), first_id=300,
        may_merge=lambda *pair: True,
    )  # fmt: skip
    ours = run.learn(len(theirs))
    spelled = {id: chr(0x4E00 + id) for id in range(300)}
    for merge in ours:
        spelled[merge.token] = spelled[merge.left] + spelled[merge.right]
    assert [(spelled[m.left], spelled[m.right]) for m in ours] == theirs and len(theirs) == 400


def test_no_merge_crosses_the_end_of_a_word_a_break_or_an_unknown_character():
    words = {(1, 2): 1, (3, BREAK, 1): 5, (1, unknown("ก"), 2): 7}
    assert found(words, min_count=1) == [(1, 2, "ab", 1)]


def test_a_stream_decides_its_own_merges_and_others_use_them():
    words = {(1, 2): 9, (3, 4): 2, (1, 2, 3, 4): 1}
    run = learner(words, streams=np.array([0, 1, 1]), num_streams=2)
    assert run.num_tokens.tolist() == [18, 8]
    merge = run.step(1)
    assert (merge.piece, merge.count, run.num_tokens.tolist()) == ("cd", 3, [18, 5])
    assert run.step(0).piece == "ab" and run.num_tokens.tolist() == [9, 4]


def test_a_stream_that_is_only_followed_makes_no_merges():
    run = learner({(1, 2): 3, (3, 4): 9}, streams=np.array([0, 1]), num_streams=2, num_training=1)
    assert [merge.piece for merge in run.learn(9)] == ["ab"]
    assert run.num_tokens.tolist() == [3, 18]


def test_a_forced_pair_is_made_whatever_its_count_unless_it_never_occurs():
    run = learner({(1, 2, 3): 1})
    assert run.force(3, 4) is None
    made = run.force(1, 2)
    assert (made.token, made.piece, made.count) == (10, "ab", 1)
    assert run.force(10, 3).piece == "abc"


@given(words=words_of)
@settings(max_examples=50, deadline=None)
def test_going_on_from_the_words_is_going_on(words):
    whole = learner(words)
    expected = [(m.piece, m.count) for m in whole.learn(8)]
    first = learner(words)
    start = first.learn(4)
    ids, counts, streams = first.words()
    pieces = LETTERS | {merge.token: merge.piece for merge in start}
    second = ContinuedBpe(
        ids, counts, pieces, set(pieces.values()), first_id=10 + len(start), may_merge=lambda *pair: True,
        streams=streams,
    )  # fmt: skip
    assert [(m.piece, m.count) for m in (*start, *second.learn(4))] == expected


def test_tokens_are_counted_with_unknown_characters_as_their_bytes():
    words = Segments.of([(1, BREAK, unknown("ก"), unknown("a")), (2,)])
    assert count_tokens(words, np.array([2, 5]), np.array([0, 1]), 2).tolist() == [2 * (1 + 3 + 1), 5]


def test_too_many_symbols_are_refused_before_an_index_wraps(monkeypatch):
    class Huge(Segments):
        @property
        def lengths(self):
            return np.array([1 << 31])

    with pytest.raises(OverflowError):
        learner_of = ContinuedBpe.__new__(ContinuedBpe)
        learner_of._link(Huge(np.zeros(1, np.int32), np.array([0, 1])), np.ones(1, np.int64), None)


def test_is_free_is_asked_only_for_what_would_be_the_next_merge():
    asked = []

    def is_free(left, right, piece):
        asked.append(piece)
        return piece != "cd"

    # b c stands ten times at first and never after a b was joined; c d is refused and the rest goes on.
    merges = found({(1, 2, 3): 10, (1, 2): 5, (3, 4): 8, (4, 4): 3}, is_free=is_free)
    assert [piece for _, _, piece, _ in merges] == ["ab", "abc", "dd"]
    assert asked == ["ab", "abc", "cd", "dd"]
