"""A tokenizer beside a model: a warning where shared ids stand for other text, silence where they do not."""

from __future__ import annotations

import json
from pathlib import Path

from seatools.text.own_tokenizer import other_pieces
from seatools.text.tokenizer import load_tokenizer


def written(folder: Path, *pieces: str) -> Path:
    folder.mkdir()
    model = {"type": "BPE", "vocab": {piece: id for id, piece in enumerate(pieces)}, "merges": []}
    (folder / "tokenizer.json").write_text(json.dumps({"model": model}), encoding="utf-8")
    return folder


def test_a_permuted_vocabulary_is_told(tmp_path: Path) -> None:
    own, given = written(tmp_path / "own", "a", "b", "c"), written(tmp_path / "given", "a", "c", "b", "d")
    said = other_pieces(load_tokenizer(given), own)
    assert said == (
        f"{given} is not the tokenizer of {own}: 2 of 3 ids stand for other text (id 1 for 'c', the model's for 'b')"
    )


def test_more_or_the_same_pieces_are_not(tmp_path: Path) -> None:
    own = written(tmp_path / "own", "a", "b")
    for name, pieces in (("same", "ab"), ("longer", "abc"), ("shorter", "a")):
        assert other_pieces(load_tokenizer(written(tmp_path / name, *pieces)), own) is None
    assert other_pieces(load_tokenizer(own), own) is None


def test_a_model_without_a_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    given = written(tmp_path / "given", "a")
    assert other_pieces(load_tokenizer(given), tmp_path / "model") is None
