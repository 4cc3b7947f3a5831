"""Unigram: new pieces have the lowest scores, in both files, and both engines find them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from seatools.streams.errors import SeaError, UsageError
from seatools.text.huggingface_json import JsonTokenizer
from seatools.text.sentencepiece_model import SentencePieceTokenizer
from seatools.text.tokenizer import load_tokenizer
from seatools.vocab_extend.new_token import NewToken
from seatools.vocab_extend.sentencepiece_files import falling_scores
from seatools.vocab_extend.tokenizer_files import write_extended

WORDS = ("▁ສະບາຍດີ", "ລາວ", "▁ទឹក")


def pieces(first_id: int) -> list[NewToken]:
    return [NewToken(first_id + at, word, word.encode(), "merge", None, ()) for at, word in enumerate(WORDS)]


def test_scores_fall_by_the_least_that_there_is() -> None:
    scores = falling_scores(-13.59, 0.0)
    first = [next(scores) for _ in range(16_384)]
    assert all(after < before for before, after in zip([-13.59, *first], first, strict=False))
    assert first[-1] > -13.61


def test_a_model_of_its_own(shared: Path, tmp_path: Path) -> None:
    base = load_tokenizer(shared / "tokenizers/t5-v1_1-spm-unigram")
    assert isinstance(base, SentencePieceTokenizer)
    tokens = pieces(base.vocab_size)
    write_extended(base, tokens, tmp_path)
    new = load_tokenizer(tmp_path)
    assert isinstance(new, SentencePieceTokenizer) and new.kind == base.kind
    old, written = list(base.model_proto.pieces), list(new.model_proto.pieces)
    assert written[: len(old)] == old
    scores = [min(piece.score for piece in old if piece.type == 1), *(piece.score for piece in written[len(old) :])]
    assert all(after < before for before, after in zip(scores, scores[1:], strict=False)) and len(scores) == 4
    assert new.encode("ສະບາຍດີລາວ ទឹក") == [token.id for token in tokens]
    english = (shared / "data/flores200/dev/eng_Latn.txt").read_text("utf-8").splitlines()[:200]
    assert new.encode_batch(english) == base.encode_batch(english)


def unigram_json(folder: Path, *beyond: str) -> Path:
    letters = [["<unk>", 0.0], ["</s>", 0.0], ["▁", -2.0], *([letter, -5.0] for letter in "abcde"), ["▁ab", -7.5]]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    names = ["</s>", *beyond]
    parsed = {
        "version": "1.0",
        "added_tokens": [
            {"id": 1 if name == "</s>" else len(letters) + at - 1, "content": name, **flags}
            for at, name in enumerate(names)
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        "post_processor": None,
        "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        "model": {"type": "Unigram", "unk_id": 0, "vocab": letters, "byte_fallback": False},
    }
    folder.mkdir()
    (folder / "tokenizer.json").write_text(json.dumps(parsed))
    return folder


def test_a_tokenizer_json(tmp_path: Path) -> None:
    base = load_tokenizer(unigram_json(tmp_path / "base"))
    assert isinstance(base, JsonTokenizer) and base.kind == "json-unigram"
    tokens = pieces(base.vocab_size)
    (tmp_path / "out").mkdir()
    write_extended(base, tokens, tmp_path / "out")
    vocabulary = json.loads((tmp_path / "out/tokenizer.json").read_text("utf-8"))["model"]["vocab"]
    assert vocabulary[:9] == base.json_model["model"]["vocab"]
    assert [piece for piece, _ in vocabulary[9:]] == list(WORDS)
    scores = [-7.5, *(score for _, score in vocabulary[9:])]
    assert all(-7.51 < after < before for before, after in zip(scores, scores[1:], strict=False))
    new = load_tokenizer(tmp_path / "out")
    assert new.encode("ສະບາຍດີລາວ ទឹក ab") == [*(token.id for token in tokens), 8]
    assert new.special_ids == base.special_ids


def test_an_added_token_beyond_the_list_would_lose_its_id(tmp_path: Path) -> None:
    base = load_tokenizer(unigram_json(tmp_path / "base", "<mask>"))
    with pytest.raises(SeaError, match="'<mask>' is not in the Unigram vocabulary"):
        write_extended(base, pieces(base.vocab_size), tmp_path)
    with pytest.raises(UsageError, match="json-unigram file the order of ids"):
        write_extended(base, pieces(3), tmp_path)


def test_the_model_and_the_json_beside_it_say_the_same(shared: Path, tmp_path: Path) -> None:
    from sentencepiece import sentencepiece_model_pb2 as pb

    folder = unigram_json(tmp_path / "base")
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    proto = pb.ModelProto()
    for id, (piece, score) in enumerate(vocabulary):
        proto.pieces.add(piece=piece, score=score, type={0: 2, 1: 3}.get(id, 1))
    proto.trainer_spec.model_type = 1
    proto.trainer_spec.vocab_size = len(proto.pieces)
    proto.normalizer_spec.name = "identity"
    proto.normalizer_spec.add_dummy_prefix = True
    proto.normalizer_spec.escape_whitespaces = True
    proto.normalizer_spec.remove_extra_whitespaces = False
    (folder / "tokenizer.model").write_bytes(proto.SerializeToString())
    base = load_tokenizer(folder)
    assert base.kind == "sentencepiece-unigram"
    (tmp_path / "out").mkdir()
    tokens = pieces(base.vocab_size)
    assert write_extended(base, tokens, tmp_path / "out") == ["tokenizer.model", "tokenizer.json"]
    new = load_tokenizer(tmp_path / "out")
    assert isinstance(new, SentencePieceTokenizer) and new.beside is not None
    scores = {piece.piece: piece.score for piece in new.model_proto.pieces}
    for piece, score in json.loads((tmp_path / "out/tokenizer.json").read_text("utf-8"))["model"]["vocab"]:
        assert scores[piece] == score
    for text in ("ສະບາຍດີລາວ", "ab ລາວ cd", "ទឹក"):
        assert new.encode(text) == new.beside.encode(text)


def test_characters_that_a_tokenizer_json_has_as_unk_get_tokens(sea, tmp_path: Path) -> None:
    folder = unigram_json(tmp_path / "base")
    (tmp_path / "th.txt").write_text("กากา กา ขา ขา\n" * 3, encoding="utf-8")
    flags = ["--add", "9", "--unigram", "-o", tmp_path / "out"]
    assert sea("vocab-extend", folder, f"th={tmp_path / 'th.txt'}", *flags).code == 0
    rows = [json.loads(line) for line in (tmp_path / "out" / "new_tokens.jsonl").read_bytes().splitlines()]
    assert {row["token"] for row in rows if row["origin"] == "char"} == {"ก", "า", "ข"}
    new = load_tokenizer(tmp_path / "out")
    assert new.unk_id not in new.encode("กาขา")
