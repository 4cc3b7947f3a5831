"""Text that bits per byte are counted on: its tokens, the bytes that it came from, and whether it survives encoding.

The score of a text is divided by the bytes of the text as given. Where encoding and decoding gives another text, the
model has read something else than was counted, and that is said; SentencePiece's normaliser loses spaces only.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from seatools.streams.records import BadRecord, Record, Rejects, check_text
from seatools.text.tokenizer import Tokenizer


class Comes(Enum):
    """How a text comes back from encoding and decoding."""

    same = "same"
    other_spaces = "other spaces"  # SentencePiece's normaliser drops spaces at the ends and doubled ones
    other_text = "other text"


@dataclass(frozen=True)
class ScoredText:
    """One document: its tokens (no BOS, no EOS) and the bytes it came from."""

    record: Record
    ids: np.ndarray  # [tokens] int64
    num_bytes: int
    decoded: Comes
    is_nfc: bool

    @property
    def where(self) -> str:
        return self.record.where

    @property
    def text(self) -> str:
        return self.record.value["text"]


def encode_texts(
    records: Sequence[Record], tokenizer: Tokenizer, *, rejects: Rejects, workers: int = 0
) -> list[ScoredText]:
    """The `text` of each record; `rejects` gets those without text, and those that the tokenizer makes no token of."""
    good: list[Record] = []
    for record in records:
        try:
            check_text(record.value)
        except BadRecord as error:
            rejects.refuse(record, error)
            continue
        good.append(record)
    texts = []
    encoded = tokenizer.encode_batch([record.value["text"] for record in good], workers=workers)
    for record, ids in zip(good, encoded, strict=True):
        text = record.value["text"]
        if not ids:
            rejects.refuse(record, BadRecord("no tokens", "the tokenizer makes no token of this text"))
            continue
        texts.append(
            ScoredText(
                record,
                np.array(ids, dtype=np.int64),
                len(text.encode("utf-8")),
                _comes_back(text, tokenizer.decode(ids)),
                unicodedata.is_normalized("NFC", text),
            )
        )
    return texts


def _comes_back(text: str, decoded: str) -> Comes:
    if decoded == text:
        return Comes.same
    return Comes.other_spaces if decoded.split() == text.split() else Comes.other_text


def num_lost(texts: Sequence[ScoredText]) -> tuple[int, int]:
    """How many texts do not come back the same, and how many of those differ in spaces only."""
    spaces = sum(text.decoded is Comes.other_spaces for text in texts)
    return spaces + sum(text.decoded is Comes.other_text for text in texts), spaces


def warn_of_lost_text(texts: Sequence[ScoredText], label: str, warn: Callable[[str], None]) -> None:
    """Say, with `label` before it, how many texts do not survive encoding, and how many are not in NFC."""
    lost, spaces = num_lost(texts)
    if lost:
        warn(
            f"{label}: {lost} of {len(texts)} texts do not survive encoding and decoding ({spaces} lose "
            "spaces only): the model read other text than the bytes that its score is divided by"
        )
    loose = sum(not text.is_nfc for text in texts)
    if loose:
        warn(f"{label}: {loose} of {len(texts)} texts are not in NFC; they are scored as given")
