"""Pieces of new tokens: their bytes joined are always the token's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_folders import byte_fallback, byte_level

from seatools.embed_init.subword_pieces import OldSpelling, read_new_tokens, spell_tokens
from seatools.embed_init.token_map import match_tokens
from seatools.streams.errors import SeaError
from seatools.text.tokenizer import load_tokenizer

BYTE = 3  # id of <0x00> in `byte_fallback`


def test_non_ascii_in_a_byte_level_vocabulary(tmp_path: Path) -> None:
    old = load_tokenizer(byte_level(tmp_path, [(b"\xe0", b"\xb8")], first=[]))
    assert OldSpelling(old).pieces("ที".encode()) == [256, 0x97, 256, 0xB5]


def test_non_ascii_by_byte_fallback_without_the_dummy_prefix(tmp_path: Path) -> None:
    old = load_tokenizer(byte_fallback(tmp_path, ["▁", "a"]))
    assert old.encode("ท")[0] == old.piece_to_id("▁")  # what a naive encode gives
    assert OldSpelling(old).pieces("ท".encode()) == [BYTE + 0xE0, BYTE + 0xB8, BYTE + 0x97]


def test_a_leading_space_is_part_of_the_token_once(tmp_path: Path) -> None:
    old = load_tokenizer(byte_fallback(tmp_path, ["▁", "a", "b", "▁a"]))
    spelling = OldSpelling(old)
    assert spelling.pieces(b" ab") == [old.piece_to_id("▁a"), old.piece_to_id("b")]
    assert spelling.pieces(b"ab") == [old.piece_to_id("a"), old.piece_to_id("b")]
    assert spelling.pieces(b" ") == [old.piece_to_id("▁")]


def test_a_word_without_a_space_is_spelled_as_inside_a_text(tmp_path: Path) -> None:
    old = load_tokenizer(byte_fallback(tmp_path, ["▁", "a", "b", "▁a", "ab"]))
    assert [old.piece(id) for id in old.encode("aba")] == ["▁a", "b", "a"]
    assert [old.piece(id) for id in OldSpelling(old).pieces(b"aba") or []] == ["ab", "a"]


def test_what_a_normaliser_changes_is_spelled_by_characters(tmp_path: Path) -> None:
    body = json.loads((byte_level(tmp_path, [(b"\xc3", b"\x89")], first=[]) / "tokenizer.json").read_text())
    (tmp_path / "tokenizer.json").write_text(json.dumps(body | {"normalizer": {"type": "Lowercase"}}))
    old = load_tokenizer(tmp_path)
    assert OldSpelling(old).pieces("AÉÈ".encode()) == [ord("A"), 256, 0xC3, 0x88]


def test_half_a_character_is_spelled_by_bytes(tmp_path: Path) -> None:
    old = load_tokenizer(byte_level(tmp_path, [], first=[]))
    assert OldSpelling(old).pieces(b"\xb8\x97\xe0") == [0xB8, 0x97, 0xE0]


def test_what_the_vocabulary_cannot_spell_has_no_pieces(tmp_path: Path) -> None:
    old = load_tokenizer(byte_fallback(tmp_path, ["▁", "a"], byte_pieces=False))
    assert OldSpelling(old).pieces("aท".encode()) is None


def test_listed_pieces_are_used_when_they_hold_and_counted_when_not(tmp_path: Path) -> None:
    old = load_tokenizer(byte_level(tmp_path / "old", [(b"a", b"b")]))
    new = load_tokenizer(byte_level(tmp_path / "new", [(b"a", b"b"), (b"ab", b"c")]))
    letter = {char: 2 + ord(char) for char in "abc"}
    by_letters = [letter["a"], letter["b"], letter["c"]]
    assert spell_tokens(old, new, [259], {259: by_letters}) == ({259: by_letters}, 0)
    by_encoding = [258, letter["c"]]
    assert spell_tokens(old, new, [259], {259: [letter["a"], 9999]}) == ({259: by_encoding}, 1)
    assert spell_tokens(old, new, [259], {259: [letter["a"]]}) == ({259: by_encoding}, 1)


def test_listed_unk_is_not_wrong_where_nothing_spells_the_token(tmp_path: Path) -> None:
    old = load_tokenizer(byte_fallback(tmp_path / "old", ["▁", "a"], byte_pieces=False))
    new = load_tokenizer(byte_fallback(tmp_path / "new", ["▁", "a", "ท"], byte_pieces=False))
    assert spell_tokens(old, new, [5], {5: [0]}) == ({5: []}, 0)


def test_a_line_that_is_no_new_token_is_named(tmp_path: Path) -> None:
    file = tmp_path / "new_tokens.jsonl"
    file.write_text('{"id": 1, "pieces": [2]}\n{"id": "x"}\n')
    with pytest.raises(SeaError, match=r"new_tokens.jsonl:2: not a record"):
        read_new_tokens(file)


@pytest.mark.parametrize(
    ("old_name", "new_name"),
    [
        ("mistral-v1-spm", "openthaigpt-thai-bpe"),
        ("qwen2", "gpt2-thai"),
        ("t5-v1_1-spm-unigram", "openllama"),
    ],
)
def test_pieces_of_real_tokens_join_to_their_bytes(shared: Path, old_name: str, new_name: str) -> None:
    old, new = (load_tokenizer(shared / "tokenizers" / name) for name in (old_name, new_name))
    spelling = OldSpelling(old)
    tokens = match_tokens(old, new).new[::37]
    spelled = {data: spelling.pieces(data) for data in map(new.piece_bytes, tokens) if data}
    assert len(spelled) > 100
    assert all(b"".join(map(old.piece_bytes, pieces)) == data for data, pieces in spelled.items() if pieces)
    num_unspelled = sum(pieces is None for pieces in spelled.values())
    assert num_unspelled == 0 or old_name.startswith("t5")  # T5 has neither bytes nor every character
