"""Unreachable and dormant tokens, on vocabularies made to have them and on the published ones."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_sentencepiece import write_sentencepiece

from seatools.text.byte_alphabet import spell
from seatools.text.reachability import made_by_model, ordinary_ids, unreachable_tokens
from seatools.text.scripts import main_script
from seatools.text.tokenizer import load_tokenizer


def byte_level(folder, tokens, merges, **more):
    """A tokenizer.json over bytes with Qwen2's habit of cutting before marks left out: GPT-2's pattern."""
    vocabulary = {spell(bytes([byte])): byte for byte in range(256)}
    vocabulary |= {spell(token.encode()): 256 + number for number, token in enumerate(tokens)}
    model = {"type": "BPE", "vocab": vocabulary, "merges": [[spell(a.encode()), spell(b.encode())] for a, b in merges]}
    step = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    parsed = {"version": "1.0", "added_tokens": [], "normalizer": more.pop("normalizer", None)}
    parsed |= {"pre_tokenizer": step, "decoder": step, "model": model | more}
    folder.mkdir(exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(parsed))
    return load_tokenizer(folder)


def reasons(tokenizer):
    return {tokenizer.piece_bytes(id).decode(): reason for id, reason in unreachable_tokens(tokenizer).items()}


def test_a_token_without_merge_and_one_that_the_pattern_cuts(tmp_path):
    tokenizer = byte_level(tmp_path / "t", ["ab", "xyz", "b1", " a"], [("a", "b"), ("b", "1"), (" ", "a")])
    assert reasons(tokenizer) == {"xyz": "unreachable", "b1": "dormant"}


def test_a_token_whose_parts_are_taken_by_an_earlier_merge(tmp_path):
    tokenizer = byte_level(tmp_path / "t", ["bc", "ab", "abc"], [("b", "c"), ("a", "b"), ("ab", "c")])
    assert reasons(tokenizer) == {"abc": "unreachable"}


@pytest.mark.parametrize("ignore_merges", [False, True])
def test_looking_whole_words_up_does_not_hide_a_missing_merge(tmp_path, ignore_merges):
    tokenizer = byte_level(tmp_path / "t", ["xyz"], [], ignore_merges=ignore_merges)
    assert tokenizer.encode("xyz") == ([256] if ignore_merges else [ord(char) for char in "xyz"])
    assert reasons(tokenizer) == {"xyz": "unreachable"}


def test_what_the_normaliser_changes_is_dormant(tmp_path):
    tokenizer = byte_level(tmp_path / "t", ["ab"], [("a", "b")], normalizer={"type": "Replace", "pattern": {"String": "a"}, "content": "z"})  # fmt: skip  # noqa: E501
    assert reasons(tokenizer) == {"a": "dormant", "ab": "dormant"}


def test_spaces_and_line_ends_count_as_running_text(tmp_path):
    merges = [(" ", " "), ("\n", "\n"), ("'", "s"), (" ", "x")]
    tokenizer = byte_level(tmp_path / "t", ["  ", "\n\n", "'s", " x"], merges)
    assert reasons(tokenizer) == {}


def test_sentencepiece_scores(tmp_path):
    # "b"+"c" wins over "a"+"b", so "abcd" is never made; "▁a" comes at a text's beginning, "bc" inside.
    tokenizer = load_tokenizer(write_sentencepiece(tmp_path, ["bc", "ab", "cd", "abcd", "▁a", "a", "b", "c", "d", "▁"]))
    assert reasons(tokenizer) == {"abcd": "unreachable"}


def test_unigram_scores(tmp_path):
    """ "▁ab" loses to "▁a" and "b" wherever it stands; Metaspace cuts before a space, never after one."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    pieces = [("<unk>", 0.0), ("▁a", -1.0), ("b", -1.0), ("▁ab", -9.0), ("bb", -1.5), ("c", -2.0), ("▁", -3.0)]
    engine = Tokenizer(models.Unigram([*pieces, ("c▁", -1.0)], 0))
    engine.pre_tokenizer, engine.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    engine.save(str(tmp_path / "tokenizer.json"))
    assert reasons(load_tokenizer(tmp_path)) == {" ab": "unreachable", "c ": "dormant"}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text("abc", min_size=2, max_size=4), unique=True, max_size=8), st.randoms(use_true_random=False))
def test_what_is_reachable_is_emitted_by_some_text(tmp_path_factory, tokens, random):
    """Every text over the letters, up to six of them: BPE makes no token that its own spelling does not give."""
    from itertools import product

    merges = [(token[:cut], token[cut:]) for token in tokens for cut in (random.randint(1, len(token) - 1),)]
    known = {*"abc", *tokens}
    merges = [pair for pair in merges if set(pair) <= known]
    tokenizer = byte_level(tmp_path_factory.mktemp("t"), tokens, merges)
    texts = ["".join(letters) for size in range(1, 7) for letters in product("abc", repeat=size)]
    emitted = {id for ids in tokenizer.encode_batch(texts) for id in ids if id >= 256}
    unreachable = unreachable_tokens(tokenizer)
    assert emitted == {id for id in ordinary_ids(tokenizer) if id >= 256 and id not in unreachable}


@pytest.mark.parametrize(
    ("name", "dormant", "unreachable"),
    [
        ("gpt2-tiktoken", 0, 0),
        ("mistral-v1-spm", 0, 0),
        ("mistral-v3-spm", 0, 0),
        ("t5-v1_1-spm-unigram", 0, 2),
        ("gpt-neox-20b", 221, 0),  # runs of spaces, which added tokens take
        ("gptj-thai-merged", 0, 21013),  # merges appended without their parts' order
        ("openllama", 0, 237),
    ],
)
def test_published_tokenizers(shared, name, dormant, unreachable):
    found = Counter(unreachable_tokens(load_tokenizer(shared / "tokenizers" / name)).values())
    assert (found["dormant"], found["unreachable"]) == (dormant, unreachable)


def test_qwen2_has_1578_dormant_thai_tokens(shared):
    """As measured for research/vocab-embed.md, 7.1; the normaliser adds compatibility ideographs to its 1,673."""
    tokenizer = load_tokenizer(shared / "tokenizers" / "qwen2")
    found = unreachable_tokens(tokenizer)
    scripts = Counter(main_script(tokenizer.piece_bytes(id).decode()) for id in found)
    assert set(found.values()) == {"dormant"} and scripts["Thai"] == 1578


def test_o200k_has_one_token_that_no_context_gives(shared):
    tokenizer = load_tokenizer(shared / "tokenizers" / "o200k-tiktoken")
    assert reasons(tokenizer) == {" I'": "dormant"}
    assert made_by_model(tokenizer, ordinary_ids(tokenizer)) >= set(ordinary_ids(tokenizer))
