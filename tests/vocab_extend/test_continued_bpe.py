"""The incremental learner against plain ones that recount everything at every step."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from seatools.vocab_extend.continued_bpe import ContinuedBpe

LETTERS = {0: "a", 1: "b", 2: "c"}
WORDS = st.dictionaries(
    st.lists(st.integers(0, 2), min_size=1, max_size=9).map(tuple), st.integers(1, 4), min_size=1, max_size=8
)


def learner(words, **options):
    options.setdefault("may_merge", lambda left, right, piece: True)
    return ContinuedBpe(words, dict(LETTERS), options.pop("taken", set(LETTERS.values())), first_id=3, **options)


def plain(words, num, min_count, taken=("a", "b", "c")):
    """Sennrich's loop: count all pairs, join the best everywhere, again."""
    pieces, taken = dict(LETTERS), set(taken)
    words = Counter(words)
    made = []
    while len(made) < num:
        counts = Counter()
        for word, count in words.items():
            for pair in zip(word, word[1:], strict=False):
                counts[pair] += count
        options = [
            (-count, pieces[left] + pieces[right], left, right)
            for (left, right), count in counts.items()
            if count >= min_count and pieces[left] + pieces[right] not in taken
        ]
        if not options:
            break
        negative, piece, left, right = min(options)
        token = 3 + len(made)
        made.append((left, right, piece, -negative))
        pieces[token] = piece
        taken.add(piece)
        joined = Counter()
        for word, count in words.items():
            result, at = [], 0
            while at < len(word):
                if word[at : at + 2] == (left, right):
                    result.append(token)
                    at += 2
                else:
                    result.append(word[at])
                    at += 1
            joined[tuple(result)] += count
        words = joined
    return made, words


def by_concatenation(words, num, min_count, base):
    """The same for SentencePiece: every step segments all words anew by its rule, best piece first, leftmost first."""
    known = list(base)
    made = []

    def segment(word):
        parts = list(word)
        while True:
            ranked = [
                (known.index(parts[at] + parts[at + 1]), at)
                for at in range(len(parts) - 1)
                if parts[at] + parts[at + 1] in known
            ]
            if not ranked:
                return parts
            _, at = min(ranked)
            parts[at : at + 2] = [parts[at] + parts[at + 1]]

    while len(made) < num:
        counts = Counter()
        for word, count in words.items():
            parts = segment(word)
            for left, right in zip(parts, parts[1:], strict=False):
                counts[left + right] += count
        options = [(-count, piece) for piece, count in counts.items() if count >= min_count]
        if not options:
            break
        made.append(min(options)[1])
        known.append(min(options)[1])
    return made, segment


def test_most_frequent_pair_first_and_ties_to_the_smaller_piece():
    # ab occurs 3 times, then bc and ca (2 each) are gone except ca inside: b|c|a.
    merges = learner({(0, 1): 3, (1, 2): 2, (2, 0): 2}).learn(3, 2)
    assert [(merge.piece, merge.count, merge.token) for merge in merges] == [("ab", 3, 3), ("bc", 2, 4), ("ca", 2, 5)]


def test_a_run_of_one_symbol_is_joined_from_the_left():
    state = learner({(0, 0, 0): 2})
    assert [merge.piece for merge in state.learn(1, 2)] == ["aa"]
    assert state.words() == {(3, 0): 2}


def test_no_merge_makes_a_piece_that_is_taken():
    merges = learner({(0, 1): 5, (1, 2): 3}, taken={"a", "b", "c", "ab"}).learn(5, 2)
    assert [merge.piece for merge in merges] == ["bc"]


def test_two_merges_never_make_the_same_piece():
    # "abc" can come from ab+c and from a+bc; only the first gets a token.
    words = {(0, 1): 9, (1, 2): 9, (0, 1, 2): 5, (1, 2, 0): 7, (2, 0): 6}
    merges = learner(words).learn(50, 1)
    assert len({merge.piece for merge in merges}) == len(merges)


def test_a_refused_pair_is_never_joined():
    merges = learner({(0, 1): 5, (1, 2): 3}, may_merge=lambda left, right, piece: (left, right) != (0, 1)).learn(5, 2)
    assert [merge.piece for merge in merges] == ["bc"]


def test_learning_stops_at_min_count():
    assert learner({(0, 1): 2, (1, 2): 1}).learn(10, 3) == []


@settings(max_examples=300, deadline=None)
@given(WORDS, st.integers(1, 3))
def test_equals_plain_bpe(words, min_count):
    expected, segmented = plain(words, 12, min_count)
    state = learner(words)
    merges = state.learn(12, min_count)
    assert [(merge.left, merge.right, merge.piece, merge.count) for merge in merges] == expected
    assert state.words() == {word: count for word, count in segmented.items() if _long(word, words)}


def _long(word, words):
    # The learner does not keep words that were one symbol from the start; a joined word is never a base symbol.
    return len(word) > 1 or word[0] >= len(LETTERS)


@settings(max_examples=100, deadline=None)
@given(WORDS)
def test_learning_in_two_goes_gives_the_same(words):
    state = learner(words)
    assert state.learn(3, 1) + state.learn(5, 1) == learner(words).learn(8, 1)


@settings(max_examples=300, deadline=None)
@given(WORDS, st.sets(st.sampled_from(["ab", "ca", "abc", "bca", "aab"]), max_size=3), st.integers(1, 2))
def test_equals_plain_bpe_by_concatenation(words, base, min_count):
    base = ["a", "b", "c", *sorted(base)]
    texts = Counter({"".join(LETTERS[symbol] for symbol in word): count for word, count in words.items()})
    _, segment = by_concatenation(texts, 0, 1, base)
    ids = {piece: id for id, piece in enumerate(base)}
    segmented = Counter()
    for text, count in texts.items():
        segmented[tuple(ids[part] for part in segment(text))] += count
    state = ContinuedBpe(
        segmented,
        dict(enumerate(base)),
        set(base),
        first_id=len(base),
        may_merge=lambda left, right, piece: True,
        joins=ids,
    )
    expected, final = by_concatenation(texts, 10, min_count, base)
    assert [merge.piece for merge in state.learn(10, min_count)] == expected
