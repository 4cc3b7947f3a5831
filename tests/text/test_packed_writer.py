"""Packed data written window by window has the bytes of packed data written at once."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatools.streams.errors import SeaError
from seatools.text.documents import TokenizedDoc
from seatools.text.packed import write_packed
from seatools.text.packed_writer import PackedWriter
from seatools.text.packing import pack, pack_arrays

OPTIONS = {"row_length": 8, "tokenizer_digest": "aa11", "sources": ["en", "ไทย"]}


def doc(length: int, first: int) -> TokenizedDoc:
    mask = (np.arange(length) % 3 > 0).astype(np.uint8)
    return TokenizedDoc(np.arange(first, first + length, dtype=np.uint32), mask)


@given(st.lists(st.lists(st.integers(1, 30), max_size=9), max_size=5))
def test_the_bytes_are_those_of_one_call(windows):
    lengths = [length for window in windows for length in window]
    docs = [doc(length, 100 * i) for i, length in enumerate(lengths)]
    ids = [i % 2 for i in range(len(docs))]
    rows, first = [], 0
    written, at_once = io.BytesIO(), io.BytesIO()
    with PackedWriter(**OPTIONS) as writer:
        for window in windows:
            part = slice(first, first + len(window))
            writer.add(writer.tensors(pack_arrays(window, 8), docs[part], ids[part]))
            rows += [[s._replace(doc=s.doc + first) for s in row] for row in pack(window, 8)]
            first += len(window)
        metadata = writer.save(written)
        assert writer.num_bytes == 8 * 2 * (len(rows) + 1) + 5 * sum(lengths) + 6 * sum(map(len, rows))
        assert (writer.num_rows, writer.num_tokens) == (len(rows), sum(lengths))
    assert metadata == write_packed(at_once, rows, docs, ids, **OPTIONS)
    assert written.getvalue() == at_once.getvalue()


def test_too_many_sources_are_refused():
    many = PackedWriter(row_length=8, tokenizer_digest="d", sources=["s"] * 65537)
    with many as writer, pytest.raises(SeaError, match="at most 65,536 sources"):
        writer.save(io.BytesIO())
