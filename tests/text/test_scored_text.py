"""Text to be scored: its bytes as given, what encoding loses, and records that have none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_llama import write_tokenizer

from seatools.streams.records import BadRecord, Record, Rejects, dump
from seatools.text.scored_text import Comes, encode_texts, num_lost, warn_of_lost_text
from seatools.text.tokenizer import load_tokenizer


def records(*texts: object) -> list[Record]:
    return [Record(dump({"text": text}), {"text": text}, "a.jsonl", line) for line, text in enumerate(texts, 1)]


def test_bytes_tokens_and_normal_form_are_those_of_the_text_as_given(tmp_path: Path):
    write_tokenizer(tmp_path)
    first, second = encode_texts(records("แมว", "a\u0301 "), load_tokenizer(tmp_path), rejects=Rejects())
    assert (first.num_bytes, len(first.ids), first.is_nfc, first.decoded) == (9, 9, True, Comes.same)
    assert (second.num_bytes, second.is_nfc, second.text, second.where) == (4, False, "a\u0301 ", "a.jsonl:2")


class Forgetful:
    """A tokenizer whose decoder knows single spaces and small letters only."""

    def encode_batch(self, texts: list[str], *, workers: int) -> list[list[int]]:
        return [[ord(char) for char in text] for text in texts]

    def decode(self, ids: list[int]) -> str:
        return " ".join("".join(map(chr, ids)).lower().split())


def test_lost_spaces_and_lost_text_are_told_apart():
    tokenizer: Any = Forgetful()
    texts = encode_texts(records("a cat", " a  cat", "A cat", "a cat\n"), tokenizer, rejects=Rejects())
    assert [text.decoded for text in texts] == [Comes.same, Comes.other_spaces, Comes.other_text, Comes.other_spaces]
    assert num_lost(texts) == (3, 2)
    said: list[str] = []
    warn_of_lost_text(texts, "en", said.append)
    assert len(said) == 1 and said[0].startswith("en: 3 of 4 texts do not survive encoding and decoding (2 lose")
    warn_of_lost_text(texts[:1], "en", said.append)
    assert len(said) == 1


@pytest.mark.parametrize(("bad", "reason"), [("", "empty text"), (3, "text not a string")])
def test_records_without_text_are_refused_by_line(tmp_path: Path, bad: object, reason: str):
    write_tokenizer(tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    with pytest.raises(BadRecord) as caught:
        encode_texts(records("good", bad), tokenizer, rejects=Rejects())
    assert (caught.value.where, caught.value.reason) == ("a.jsonl:2", reason)
    rejects = Rejects("skip")
    assert [text.record.line for text in encode_texts(records("a", bad, "b"), tokenizer, rejects=rejects)] == [1, 3]
    assert rejects.counts == {reason: 1}
