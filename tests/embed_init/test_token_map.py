"""Tokens are matched by what they stand for."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from tiny_folders import added, byte_fallback, byte_level

from seatools.embed_init.token_map import check_fit, match_tokens, used_ids
from seatools.streams.errors import SeaError
from seatools.text.tokenizer import Tokenizer, load_tokenizer


def _pair(old: Path, new: Path) -> tuple[Tokenizer, Tokenizer]:
    return load_tokenizer(old), load_tokenizer(new)


def test_a_token_at_another_id_keeps_its_identity(tmp_path: Path) -> None:
    old, new = _pair(
        byte_level(tmp_path / "old", [(b"a", b"b")]), byte_level(tmp_path / "new", [(b"c", b"d"), (b"a", b"b")])
    )
    tokens = match_tokens(old, new)
    assert (tokens.old_id[259], tokens.new, tokens.dropped) == (258, [258], [])


def test_dropped_tokens_are_named(tmp_path: Path) -> None:
    old, new = _pair(
        byte_level(tmp_path / "old", [(b"a", b"b"), (b"c", b"d")]), byte_level(tmp_path / "new", [(b"c", b"d")])
    )
    tokens = match_tokens(old, new)
    assert (tokens.dropped, tokens.old_id[258]) == ([258], 259)


def test_a_byte_piece_is_not_the_letter_that_the_byte_spells(tmp_path: Path) -> None:
    old, new = _pair(byte_fallback(tmp_path / "old", ["▁", "b"]), byte_fallback(tmp_path / "new", ["▁", "A", "b"]))
    tokens = match_tokens(old, new)
    assert tokens.new == [260] and tokens.old_id[3 + 0x41] == 3 + 0x41


def test_a_letter_is_not_the_byte_piece_that_went(tmp_path: Path) -> None:
    old = byte_fallback(tmp_path / "old", ["▁", "b"])
    new = byte_fallback(tmp_path / "new", ["▁", "A", "b"], byte_pieces=False)
    tokens = match_tokens(*_pair(old, new))
    assert tokens.new == [4] and 3 + 0x41 in tokens.dropped


def test_a_token_that_became_special_is_still_the_same(tmp_path: Path) -> None:
    old_path = byte_level(tmp_path / "old", [(b"[", b"I")])
    new_path = byte_level(tmp_path / "new", [(b"[", b"I")])
    body = json.loads((new_path / "tokenizer.json").read_text())
    body["added_tokens"].append(added("[I", 258))
    (new_path / "tokenizer.json").write_text(json.dumps(body))
    old, new = _pair(old_path, new_path)
    assert new.special_ids["[I"] == 258
    assert match_tokens(old, new).old_id[258] == 258


def test_formats_that_spell_differently_match_by_bytes(tmp_path: Path) -> None:
    ranks = [bytes([byte]) for byte in range(256)] + [b" the", "é".encode()]
    file = tmp_path / "x.tiktoken"
    file.write_bytes(b"".join(base64.b64encode(piece) + b" %d\n" % id for id, piece in enumerate(ranks)))
    old = load_tokenizer(file, pattern="gpt2")
    merges = [(b"\xc3", b"\xa9"), (b" ", b"t"), (b" t", b"h"), (b" th", b"e")]
    new = load_tokenizer(byte_level(tmp_path / "new", merges, first=[]))
    tokens = match_tokens(old, new)
    assert [tokens.old_id[id] for id in (0, 255, 256, 259)] == [0, 255, 257, 256]
    assert tokens.new == [257, 258]


def test_mistral_v1_to_v3_moves_every_old_piece_by_768(shared: Path) -> None:
    old, new = _pair(shared / "tokenizers/mistral-v1-spm", shared / "tokenizers/mistral-v3-spm")
    tokens = match_tokens(old, new)
    assert tokens.dropped == [] and len(tokens.new) == 768
    assert {new - old for new, old in tokens.old_id.items() if old > 2} == {768}


def test_used_ids_leave_gaps_out(tmp_path: Path) -> None:
    folder = byte_level(tmp_path / "gap", [])
    body = json.loads((folder / "tokenizer.json").read_text())
    body["model"]["vocab"]["ab"] = 300
    (folder / "tokenizer.json").write_text(json.dumps(body))
    assert used_ids(load_tokenizer(folder)) == [*range(258), 300]


@pytest.mark.parametrize(
    ("num_rows", "old_merges", "new_merges", "message"),
    [
        (257, 0, 1, "ids up to 257, the model has 257 rows"),
        (1000, 0, 800, "more than padding explains"),
        (1000, 700, 0, "no extension"),
    ],
)
def test_rows_that_no_padding_explains_are_refused(
    tmp_path: Path, num_rows: int, old_merges: int, new_merges: int, message: str
) -> None:
    chain = [(b"%c" % first, b"%c" % second) for first in range(65, 95) for second in range(65, 95)]
    old, new = _pair(byte_level(tmp_path / "old", chain[:old_merges]), byte_level(tmp_path / "new", chain[:new_merges]))
    with pytest.raises(SeaError, match=message):
        check_fit(num_rows, old, new, match_tokens(old, new))


def test_usual_padding_is_accepted(tmp_path: Path) -> None:
    old = load_tokenizer(byte_level(tmp_path / "old", []))
    check_fit(384, old, old, match_tokens(old, old))


def test_tokenizers_of_two_families_are_refused(tmp_path: Path) -> None:
    thai, latin = [chr(0xE01 + n) for n in range(40)], [chr(97 + n) for n in range(26)]
    old, new = _pair(
        byte_fallback(tmp_path / "old", thai, byte_pieces=False),
        byte_fallback(tmp_path / "new", latin, byte_pieces=False),
    )
    with pytest.raises(SeaError, match="share 3 of 29 tokens"):
        check_fit(43, old, new, match_tokens(old, new))


def test_an_extension_larger_than_the_base_is_accepted(tmp_path: Path) -> None:
    old = load_tokenizer(byte_fallback(tmp_path / "old", ["▁", "a"], byte_pieces=False))
    letters = ["▁", "a", *(chr(0xE01 + n) for n in range(40))]
    new = load_tokenizer(byte_fallback(tmp_path / "new", letters, byte_pieces=False))
    check_fit(5, old, new, match_tokens(old, new))
