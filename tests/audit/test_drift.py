"""Drift is about pieces: renumbered tokenizers do not drift, and one changed piece is found."""

from __future__ import annotations

import numpy as np

from seatools.audit.drift import changed_docs
from seatools.audit.token_batch import Encoded
from seatools.text.piece_table import PieceTable
from seatools.text.tokenizer import load_tokenizer


def test_by_hand():
    # Pieces: first a=0 b=1 ab=2; second ab=0 a=1 b=2. "ab" then "a": the second keeps "ab" whole.
    first = Encoded.of([[0, 1], [0], [0, 0], []])
    second = Encoded.of([[0], [1], [1, 2], []])
    changed = changed_docs(first, second, np.array([10, 11, 12]), np.array([12, 10, 11]))
    assert changed.tolist() == [True, False, True, False]


def test_two_versions_of_one_tokenizer(shared):
    """Mistral v3 has v1's pieces under other ids, shifted by its control tokens."""
    tokenizers = [load_tokenizer(shared / "tokenizers" / f"mistral-v{version}-spm") for version in (1, 3)]
    texts = (shared / "data" / "ntrex" / "lao.txt").read_text(encoding="utf-8").split("\n")[:50]
    known: dict[bytes, int] = {}
    numbers = [PieceTable(tokenizer).numbers(known) for tokenizer in tokenizers]
    encoded = [Encoded.of(tokenizer.encode_batch(texts)) for tokenizer in tokenizers]
    assert not np.array_equal(encoded[0].ids, encoded[1].ids)
    assert not changed_docs(*encoded, *numbers).any()
