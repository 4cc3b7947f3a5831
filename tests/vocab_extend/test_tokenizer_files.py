"""What is in the written folder: ids, scores, merges, special tokens."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from counted_text import extended

from seatools.streams.errors import SeaError
from seatools.text.tokenizer import load_tokenizer
from seatools.vocab_extend.new_token import expand

THAI = ["กากากา ขากา กาขา", "กาขา กากา กาขา"]
LLAMA = ["▁t", "he", "▁the", "in", "▁", "t", "h", "e", "i", "n"]


def run(base_path, texts=THAI, add=6):
    out = Path(base_path).parent / "out"
    out.mkdir()
    base = load_tokenizer(base_path)
    _, result = extended(base, {"th": texts}, out, add=add, min_count=2)
    return base, result.tokens, result.proof, out


def model_pieces(path):
    from sentencepiece import sentencepiece_model_pb2 as pb

    return list(pb.ModelProto.FromString((path / "tokenizer.model").read_bytes()).pieces)


def test_sentencepiece_ids_rise_and_scores_fall_below_every_base_score(sentencepiece_model, tmp_path):
    base, tokens, _, out = run(sentencepiece_model(tmp_path / "base", LLAMA, runs=["▁▁", "▁▁▁▁"]))
    old, new = model_pieces(base.path), model_pieces(out)
    assert [(piece.piece, piece.score, piece.type) for piece in new[: len(old)]] == [
        (piece.piece, piece.score, piece.type) for piece in old
    ]
    assert [token.id for token in tokens] == list(range(len(old), len(old) + len(tokens)))
    assert [piece.piece for piece in new[len(old) :]] == [token.piece for token in tokens]
    scores = [min(piece.score for piece in old), *(piece.score for piece in new[len(old) :])]
    assert all(after < before for before, after in zip(scores, scores[1:], strict=False))


def test_characters_without_a_piece_come_first_with_their_bytes_as_pieces(sentencepiece_model, tmp_path):
    base, tokens, _, _ = run(sentencepiece_model(tmp_path / "base", LLAMA))
    assert [(token.piece, token.origin) for token in tokens[:3]] == [("า", "char"), ("ก", "char"), ("ข", "char")]
    assert bytes(base.piece_bytes(id)[0] for id in tokens[0].base_ids) == "า".encode()
    assert tokens[3].origin == "merge" and tokens[3].piece == "กา"


def test_a_space_stands_only_at_the_start_of_a_piece(sentencepiece_model, tmp_path):
    _, tokens, _, _ = run(sentencepiece_model(tmp_path / "base", LLAMA), texts=["a b a b  a b\na b a b"] * 9, add=99)
    assert tokens and not any("▁" in token.piece[1:] or "\n" in token.piece for token in tokens)


@pytest.mark.parametrize(("piece", "most"), [(None, 0), ("x1", 1), ("12", 9)])
def test_digits_are_joined_only_as_the_base_joins_them(sentencepiece_model, tmp_path, piece, most):
    pieces = [*(["x1"] if piece == "x1" else ["12"] if piece == "12" else []), "▁", *"0123456789x"]
    texts = ["3456 x3456 3456 y345"] * 9
    _, tokens, _, _ = run(sentencepiece_model(tmp_path / "base", pieces), texts=texts, add=99)
    merged = [token.piece for token in tokens if token.origin == "merge"]
    assert max((sum(char.isdecimal() for char in text) for text in merged), default=0) == min(most, 4)


def test_an_added_token_beyond_the_model_keeps_its_id(sentencepiece_model, tmp_path):
    folder = sentencepiece_model(tmp_path / "base", LLAMA, beside=True)
    parsed = json.loads((folder / "tokenizer.json").read_text())
    size = len(parsed["model"]["vocab"])
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    parsed["added_tokens"].append({"id": size, "content": "<|pad|>", **flags})
    (folder / "tokenizer.json").write_text(json.dumps(parsed))
    _, tokens, proof, out = run(folder)
    new = load_tokenizer(out)
    assert new.special_ids["<|pad|>"] == size and tokens[0].id == size + 1
    assert new.encode("<|pad|>กา", special=True)[0] == size
    assert model_pieces(out)[size].type == 3  # a control piece: never found in text
    assert proof.disagreements == 0 and new.notes == []


def test_the_model_and_the_json_hold_the_same_pieces_and_agree(sentencepiece_model, tmp_path):
    _, tokens, proof, out = run(sentencepiece_model(tmp_path / "base", LLAMA, beside=True), add=20)
    vocabulary = json.loads((out / "tokenizer.json").read_text())["model"]["vocab"]
    assert {piece.piece: id for id, piece in enumerate(model_pieces(out))} == vocabulary
    assert proof.num_words > 0 and proof.disagreements == 0


def test_byte_level_special_tokens_keep_their_ids_in_tokenizers_and_transformers(byte_level, tmp_path):
    folder = byte_level(tmp_path / "base", [(b"a", b"b")], ["<|one|>", "<|two|>"])
    base, tokens, _, out = run(folder)
    assert tokens[0].id == base.vocab_size == 259
    new = load_tokenizer(out)
    assert new.special_ids == base.special_ids == {"<|one|>": 257, "<|two|>": 258}
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(out)
    for text in (*THAI, "ab กา <|two|>ขา"):
        assert theirs.encode(text, add_special_tokens=False) == new.encode(text, special=True)
    assert theirs.convert_tokens_to_ids(["<|one|>", "<|two|>"]) == [257, 258]


def test_byte_level_merges_are_appended(byte_level, tmp_path):
    folder = byte_level(tmp_path / "base", [(b"a", b"b")])
    _, tokens, _, out = run(folder)
    old, new = (folder / "merges.txt").read_text(), (out / "merges.txt").read_text()
    assert new.startswith(old) and len(new.splitlines()) == len(old.splitlines()) + len(tokens)


def test_merges_keep_the_form_that_the_json_has(byte_level_json, tmp_path):
    folder = byte_level_json(tmp_path / "base", [(b"a", b"b")])
    parsed = json.loads((folder / "tokenizer.json").read_text())
    parsed["model"]["merges"] = ["a b"]  # tokenizers before 0.20
    (folder / "tokenizer.json").write_text(json.dumps(parsed))
    _, _, _, out = run(folder)
    assert all(isinstance(merge, str) for merge in json.loads((out / "tokenizer.json").read_text())["model"]["merges"])


def test_a_byte_level_character_is_whole_or_a_shared_step(byte_level, tmp_path):
    base, tokens, _, _ = run(byte_level(tmp_path / "base", []), add=9)
    # า, ก and ข share their first two bytes: e0 b8.
    assert [token.data.hex() for token in tokens[:4]] == ["e0b8", "e0b8b2", "e0b881", "e0b882"]
    assert tokens[1].base_ids == (0xE0, 0xB8, 0xB2)
    assert all(token.data.decode() for token in tokens if token.origin == "merge")


def test_byte_fallback_json_alone(sentencepiece_model, tmp_path):
    folder = sentencepiece_model(tmp_path / "base", LLAMA, beside=True)
    (folder / "tokenizer.model").unlink()
    base, tokens, _, out = run(folder, texts=[*THAI, "the thin the thin"], add=20)
    new, by_id = load_tokenizer(out), {token.id: token for token in tokens}
    assert {"กา", "▁thin"} <= {token.piece for token in tokens}
    for text in ("ขากา", "then  the thin", "การ"):
        assert expand(new.encode(text), by_id) == base.encode(text)


def test_unknown_characters_of_a_base_without_byte_fallback_get_pieces(sentencepiece_model, tmp_path):
    base, tokens, _, out = run(sentencepiece_model(tmp_path / "base", LLAMA, byte_fallback=False))
    assert [token.base_ids for token in tokens[:3]] == [(base.unk_id,)] * 3
    assert load_tokenizer(out).decode(load_tokenizer(out).encode("กาขา")) == "กาขา"


def test_vocab_json_that_contradicts_tokenizer_json_is_refused(byte_level, byte_level_json, tmp_path):
    folder = byte_level_json(tmp_path / "base", [(b"a", b"b")])
    other = byte_level(tmp_path / "other", [(b"c", b"d")])
    for name in ("vocab.json", "merges.txt"):
        (folder / name).write_bytes((other / name).read_bytes())
    with pytest.raises(SeaError, match="'cd' has id 256 in .*vocab.json and none in .*tokenizer.json"):
        run(folder)


def test_all_files_of_a_full_folder_agree(byte_level, byte_level_json, tmp_path):
    folder = byte_level_json(tmp_path / "base", [(b"a", b"b")])
    byte_level(folder, [(b"a", b"b")])
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    (folder / "model.safetensors").write_bytes(b"weights")
    _, _, _, out = run(folder)
    names = ["chat_template.jinja", "merges.txt", "new_tokens.jsonl", "tokenizer.json", "tokenizer_config.json"]
    assert sorted(path.name for path in out.iterdir()) == [*names, "vocab.json"]
    parsed = json.loads((out / "tokenizer.json").read_text())["model"]
    assert json.loads((out / "vocab.json").read_text()) == parsed["vocab"]
    lines = (out / "merges.txt").read_text().splitlines()[1:]
    assert lines == [" ".join(merge) for merge in parsed["merges"]]
