"""Packed data written window by window has the bytes of packed data written at once."""

from __future__ import annotations

import io
import tempfile

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
            writer.add(pack_arrays(window, 8), docs[part], ids[part])
            rows += [[s._replace(doc=s.doc + first) for s in row] for row in pack(window, 8)]
            first += len(window)
        metadata = writer.save(written)
        counts = {"num_rows": len(rows), "num_segments": sum(map(len, rows)), "num_tokens": sum(lengths)}
        assert 0 <= writer.bytes_of(**counts, extra={}) - written.tell() <= 32
        assert (writer.num_rows, writer.num_tokens) == (len(rows), sum(lengths))
    assert metadata == write_packed(at_once, rows, docs, ids, **OPTIONS)
    assert written.getvalue() == at_once.getvalue()


masks = st.lists(st.lists(st.integers(0, 1), max_size=30).map(lambda mask: [0, *mask]), max_size=20)


@given(masks, st.integers(2, 12), st.integers(1, 7))
def test_the_sum_of_masks_is_kept_but_for_what_begins_a_further_row(masks, row_length, window):
    docs = [TokenizedDoc(np.arange(len(mask), dtype=np.uint32), np.array(mask, np.uint8)) for mask in masks]
    lengths = list(map(len, masks))
    with PackedWriter(row_length=row_length, tokenizer_digest="aa11", sources=["en"]) as writer:
        for first in range(0, len(docs), window):
            part = slice(first, first + window)
            writer.add(pack_arrays(lengths[part], row_length), docs[part], [0] * len(docs[part]))
        metadata = writer.save(io.BytesIO())
    lost = sum(mask[start] for mask in masks for start in range(row_length, len(mask), row_length))
    assert int(metadata["num_targets"]) == sum(map(sum, masks)) - lost
    assert int(metadata["num_cut_targets"]) == writer.cuts.targets == lost
    assert int(metadata["num_cut_docs"]) == sum(length > row_length for length in lengths)


def test_the_parts_stand_in_the_folder_that_is_named(tmp_path, monkeypatch):
    asked = []
    real = tempfile.TemporaryFile
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **more: asked.append(more["dir"]) or real(**more))
    with PackedWriter(**OPTIONS, folder=tmp_path):
        assert set(asked) == {tmp_path}


def test_too_many_sources_are_refused():
    many = PackedWriter(row_length=8, tokenizer_digest="d", sources=["s"] * 65537)
    with many as writer, pytest.raises(SeaError, match="at most 65,536 sources"):
        writer.save(io.BytesIO())
