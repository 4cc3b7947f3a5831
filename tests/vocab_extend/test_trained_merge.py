"""The vocabulary trained from scratch, with a plain learner."""

from __future__ import annotations

from collections import Counter

from seatools.text.byte_alphabet import spell, unspell
from seatools.vocab_extend.trained_merge import Trained, trained_pieces


def plain(words, num):
    """Sennrich's loop over symbols that are strings; ties to the smaller pair."""
    words, made = Counter(words), []
    while len(made) < num:
        counts = Counter()
        for word, count in words.items():
            for pair in zip(word, word[1:], strict=False):
                counts[pair] += count
        options = [(-count, pair) for pair, count in counts.items() if count > 1]
        if not options:
            break
        negative, (left, right) = min(options)
        made.append((left, right, left + right, -negative))
        joined = Counter()
        for word, count in words.items():
            result, at = [], 0
            while at < len(word):
                if word[at : at + 2] == (left, right):
                    result.append(left + right)
                    at += 2
                else:
                    result.append(word[at])
                    at += 1
            joined[tuple(result)] += count
        words = joined
    return made


def test_pieces_that_the_base_lacks_in_the_order_of_their_merges():
    # From characters: ab 9, abc 6 (the base has it), cd 3; the base's own cuts do not matter.
    words = {("ab", "c"): 4, ("a", "bc"): 2, ("a", "b"): 3, ("cd",): 3}
    pieces = trained_pieces(words, {"a", "b", "c", "d", "abc", "bc"}, plain, list)
    assert pieces == [Trained("ab", 0, 9), Trained("cd", 2, 3)]


def test_characters_count_towards_the_vocabulary():
    words = {("a", "b", "c", "d"): 5}
    assert len(trained_pieces(words, set(), plain, list, vocab_size=6)) == 2
    assert trained_pieces(words, set(), plain, list, vocab_size=4) == []
    assert trained_pieces(words, set(), plain, list, vocab_size=3) == []


def test_byte_level_words_are_cut_to_whole_characters():
    word = spell(" กา".encode())
    words = {(word[:2], word[2:]): 3}  # the base's cut is inside a character
    pieces = trained_pieces(words, set(), plain, lambda text: [spell(char.encode()) for char in unspell(text).decode()])
    assert pieces
    assert all(unspell(piece.piece).decode() in " กา" for piece in pieces)
