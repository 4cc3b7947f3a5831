"""The exhaustive merge against Algorithm 1 taken literally, its traps one by one, and o200k as a real donor."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seatools.streams.errors import UsageError
from seatools.text.byte_alphabet import spell, unspell
from seatools.text.tokenizer import load_tokenizer
from seatools.vocab_extend.donor_merge import donor_pieces, exhaustive_merge, tf_idf

LETTERS = "abc"
WORDS = st.dictionaries(
    st.lists(st.sampled_from(["a", "b", "c", "ab"]), min_size=1, max_size=10).map(tuple), st.integers(1, 4), max_size=6
)
PIECES = st.sets(st.text(LETTERS, min_size=2, max_size=5), max_size=25)


def literal(word, mergeable):
    """One word: after every replacement the scan starts again; it ends when a scan replaces nothing."""
    parts, made = list(word), []
    while True:
        for at in range(len(parts) - 1):
            if mergeable(parts[at], parts[at + 1]):
                made.append((parts[at], parts[at + 1]))
                parts[at : at + 2] = [parts[at] + parts[at + 1]]
                break
        else:
            return parts, made


@settings(max_examples=500, deadline=None)
@given(WORDS, PIECES, PIECES, st.sets(st.tuples(st.text(LETTERS, max_size=3), st.text(LETTERS, max_size=3))))
def test_equals_starting_over_after_every_replacement(words, donor, known, forbidden):
    def allowed(left, right, piece):
        assert piece == left + right
        return (left, right) not in forbidden

    counts, made = Counter(), Counter()
    for word, count in words.items():
        parts, pairs = literal(word, lambda *pair: "".join(pair) in donor - known and pair not in forbidden)
        for piece in parts:
            counts[piece] += count
        for left, right in pairs:
            made[left + right] += count
    merged = exhaustive_merge(words, donor, known, allowed)
    assert merged.counts == counts
    assert merged.made == made
    assert merged.parents.keys() == made.keys()
    assert all(left + right == piece for piece, (left, right) in merged.parents.items())


def bpe(text, merges):
    """A base: explicit merges in the order of their ranks."""
    parts = list(text)
    for left, right in merges:
        at = 0
        while at < len(parts) - 1:
            if (parts[at], parts[at + 1]) == (left, right):
                parts[at : at + 2] = [left + right]
            at += 1
    return tuple(parts)


@st.composite
def bases(draw):
    pieces, merges = list(LETTERS), []
    for _ in range(draw(st.integers(0, 6))):
        pair = draw(st.sampled_from(pieces)), draw(st.sampled_from(pieces))
        if "".join(pair) not in pieces:
            merges.append(pair)
            pieces.append("".join(pair))
    return set(pieces), merges


@settings(max_examples=300, deadline=None)
@given(bases(), st.lists(st.text(LETTERS, min_size=1, max_size=12), max_size=8, unique=True), PIECES)
def test_every_piece_has_one_tree_over_the_bases_own_segmentation_of_it(base, texts, donor):
    known, merges = base
    merged = exhaustive_merge({bpe(text, merges): 1 for text in texts}, donor, known)
    for piece in merged.made:
        leaves, todo = [], [piece]
        while todo:
            at = todo.pop()
            if at in merged.parents:
                todo += reversed(merged.parents[at])
            else:
                assert at in known
                leaves.append(at)
        assert tuple(leaves) == bpe(piece, merges)
    again = exhaustive_merge({bpe(text, merges): 1 for text in reversed(texts)}, donor, known)
    assert again == merged  # the order of the documents does not matter


def test_a_repeated_piece_does_not_stop_the_merging():
    # Trap 1: as printed, the second "ab" adds nothing to the set and ends the scan before "cd".
    merged = exhaustive_merge({("a", "b", "a", "b", "c", "d"): 1}, {"ab", "cd"}, set())
    assert merged.counts == {"ab": 2, "cd": 1}


def test_pieces_are_counted_in_the_final_sequences():
    # Trap 2: every occurrence counts, also long after the piece was found, but not inside a longer one.
    merged = exhaustive_merge({("a", "b", "c"): 5, ("a", "b"): 3, ("x", "a", "b"): 4}, {"ab", "abc"}, set())
    assert merged.counts == {"abc": 5, "ab": 7, "x": 4}
    assert merged.made == {"ab": 12, "abc": 5}
    assert merged.parents == {"ab": ("a", "b"), "abc": ("ab", "c")}


def test_document_frequency_counts_a_document_once_a_word():
    # Trap 3: "abab" stands 9 times in 2 documents.
    word = ("a", "b", "a", "b")
    merged = exhaustive_merge({word: 9}, {"ab"}, set(), documents={word: 2})
    assert merged.counts == {"ab": 18}
    assert merged.documents == {"ab": 2}


def test_characters_that_the_base_spells_in_bytes_are_merged_as_characters():
    # Trap 4: the caller gives whole characters, the donor's bytes are spelled as the base spells them.
    word = ("▁", "ก", "า", "ร")
    merged = exhaustive_merge({word: 1}, {"กา", "การ", "▁การ"}, set(word))
    assert merged.parents == {"กา": ("ก", "า"), "การ": ("กา", "ร"), "▁การ": ("▁", "การ")}


def test_a_piece_of_the_base_is_never_made_and_never_a_step():
    # The base has "ab" and still gave a|b: whatever needs a+b there cannot be made by new merges.
    merged = exhaustive_merge({("a", "b", "c"): 1}, {"ab", "abc", "bc"}, {"a", "b", "c", "ab"})
    assert merged.parents == {"bc": ("b", "c"), "abc": ("a", "bc")}


def spell_like_llama(data: bytes) -> str | None:
    text = data.decode()
    return None if " " in text[1:] else text.replace(" ", "▁")


def test_donor_pieces_are_ordinary_and_of_whole_characters(byte_level_json, tmp_path):
    merges = [(b"\xe0", b"\xb8"), (b"\xe0\xb8", b"\x81"), (b" ", b"\xe0\xb8\x81"), (b" ", b" ")]
    donor = load_tokenizer(byte_level_json(tmp_path / "donor", merges, special=["<|end|>"]))
    pieces = donor_pieces(donor, spell_like_llama)
    assert pieces == {*map(chr, range(1, 128)), "\0", "ก", "▁ก"} - {" "} | {"▁"}
    assert donor_pieces(donor, spell) >= {spell("ก".encode()), spell(b"  ")}


def test_donor_pieces_of_a_sentencepiece_model(sentencepiece_model, tmp_path):
    donor = load_tokenizer(sentencepiece_model(tmp_path / "donor", ["▁", "a", "▁a", "ก"]))
    assert donor_pieces(donor, lambda data: data.decode()) == {" ", "a", " a", "ก"}  # no <s>, no <0x0A>


def test_tf_idf_by_hand():
    scores = tf_idf({"x": 10, "y": 10, "z": 10, "w": 10}, [{"y": 50, "z": 5, "v": 45}, {"y": 25, "v": 75}])
    # y is a quarter of the target's pieces, a half and a quarter of the others'; z a twentieth of the first.
    assert scores["x"] == scores["w"] == pytest.approx(10)
    assert scores["y"] == pytest.approx(0)
    assert scores["z"] == pytest.approx(10 * math.log(3 / 1.2) / math.log(3))


@given(
    st.dictionaries(st.sampled_from("xyz"), st.integers(1, 50), min_size=1),
    st.lists(st.dictionaries(st.sampled_from("xyzv"), st.integers(1, 50), min_size=1), min_size=1, max_size=3),
    st.integers(2, 9),
)
def test_tf_idf_is_at_most_the_count_whatever_the_amount_of_other_text(target, others, factor):
    scores = tf_idf(target, others)
    assert all(-1e-9 <= scores[piece] <= count + 1e-9 for piece, count in target.items())
    larger = tf_idf(target, [{piece: factor * count for piece, count in other.items()} for other in others])
    assert larger == pytest.approx(scores)


def test_tf_idf_needs_other_languages():
    with pytest.raises(UsageError, match="other languages"):
        tf_idf({"x": 1}, [])


def words_of(tokenizer, texts):
    """The base's words with whole characters: tokens that end inside a character are one symbol with what follows."""
    words = Counter()
    for text in texts:
        if tokenizer.byte_level:
            engine = tokenizer.engine
            normal = engine.normalizer.normalize_str(text) if engine.normalizer else text
            split = [piece for piece, _ in engine.pre_tokenizer.pre_tokenize_str(normal)]
            lists = [[unspell(token.value) for token in engine.model.tokenize(piece)] for piece in split]
        else:
            lists = []
            for id in tokenizer.encode(text):
                data = tokenizer.piece_bytes(id)
                if not lists or data.startswith(b" "):
                    lists.append([])
                lists[-1].append(data)
        for parts in lists:
            word, part = [], b""
            for data in parts:
                part += data
                try:
                    part.decode()
                except UnicodeDecodeError:
                    continue
                word.append(spell(part) if tokenizer.byte_level else part.decode().replace(" ", "▁"))
                part = b""
            words[tuple(word)] += 1
    return words


@pytest.mark.parametrize("name", ["qwen2", "mistral-v1-spm"])
@pytest.mark.parametrize("lang", ["tha_Thai", "mya_Mymr", "khm_Khmr"])
def test_o200k_as_donor(shared, name, lang):
    base = load_tokenizer(shared / "tokenizers" / name)
    donor = load_tokenizer(shared / "tokenizers/o200k-tiktoken")
    texts = (shared / "data/flores200/dev" / f"{lang}.txt").read_text(encoding="utf-8").splitlines()[:150]
    words = words_of(base, texts)
    pieces = donor_pieces(donor, spell if base.byte_level else spell_like_llama)
    known = {base.piece(id) for id in range(base.vocab_size)} | {part for word in words for part in word}
    merged = exhaustive_merge(words, pieces, known)
    in_donor = unspell if base.byte_level else lambda piece: piece.replace("▁", " ").encode()
    assert len(merged.made) > 30
    assert all(in_donor(piece) in donor.ranks for piece in merged.made)
    assert not merged.made.keys() & known
    for left, right in merged.parents.values():
        assert (left in merged.made or left in known) and (right in merged.made or right in known)
    before = sum(len(word) * count for word, count in words.items())
    assert sum(merged.counts.values()) == before - sum(merged.made.values())  # a merge saves one token
