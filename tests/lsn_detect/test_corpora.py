"""Contexts of a corpus: cut, counted, dealt to halves, shards and ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_llama import write_tokenizer

from seatools.lsn_detect.corpora import Context, CorpusCounts, Part, contexts, packed_batches
from seatools.streams.records import Rejects
from seatools.text.documents import Documents
from seatools.text.tokenizer import load_tokenizer

WORDS = ["a", "the longer one of them", "x" * 70, "middling text", "no", "of twelve by", "y" * 33]


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Documents:
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder)
    return Documents(load_tokenizer(folder), add_eos=False)


@pytest.fixture
def text(tmp_path: Path) -> str:
    (tmp_path / "th.txt").write_text("\n".join(WORDS * 9), "utf-8")
    return str(tmp_path / "th.txt")


def read(text: str, documents: Documents, **changes: Any) -> tuple[list[list[Context]], CorpusCounts]:
    counts = CorpusCounts()
    options: dict[str, Any] = dict(seq_len=32, min_doc_tokens=4, max_tokens=10_000, rejects=Rejects("fail"))
    return list(contexts([text], documents, counts, **(options | changes))), counts


def test_long_documents_are_cut_and_short_ones_counted(text, documents):
    windows, counts = read(text, documents)
    # BOS and a token a byte: 71 tokens are 32 + 32 + 7, 34 are 32 and 2 that are too few; "a" and "no" are too few.
    lengths = [len(context.ids) for window in windows for context in window]
    assert lengths == [23, 32, 32, 7, 14, 13, 32] * 9
    assert (counts.num_docs, counts.num_tokens, counts.num_short) == (63, sum(lengths), 27)
    assert [context.half for window in windows for context in window] == [n % 2 for n in range(63)]


def test_no_more_than_max_tokens_are_read(text, documents):
    for most in (100, 101, 122, 5):
        windows, counts = read(text, documents, max_tokens=most)
        read_tokens = sum(len(context.ids) for window in windows for context in window)
        assert most - 4 < read_tokens == counts.num_tokens <= most


def test_windows_end_where_asked(text, documents):
    whole, _ = read(text, documents)
    windows, _ = read(text, documents, every=200)
    flat = [[(c.ids.tolist(), c.half) for window in some for c in window] for some in (whole, windows)]
    assert flat[0] == flat[1]
    ends = np.cumsum([sum(len(context.ids) for context in window) for window in windows])
    assert all(end // 200 > (end - len(window[-1].ids)) // 200 for end, window in zip(ends[:-1], windows, strict=False))


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 200))
def test_every_context_is_read_by_one(num_shards, num_ranks, number):
    readers = [
        (shard, rank)
        for shard in range(num_shards)
        for rank in range(num_ranks)
        if Part(shard, num_shards, rank, num_ranks).has(number)
    ]
    assert len(readers) == 1
    # A pair, one context of each half, is read together.
    assert Part(readers[0][0], num_shards, readers[0][1], num_ranks).has(number ^ 1)


def test_parts_are_the_whole(text, documents):
    whole, counts = read(text, documents)
    found = []
    for shard in range(3):
        windows, own = read(text, documents, part=Part(shard, 3))
        assert own == counts  # of the corpus, whoever reads it
        found += [(c.ids.tolist(), c.half) for window in windows for c in window]
    assert sorted(found) == sorted((c.ids.tolist(), c.half) for window in whole for c in window)


def test_spans_hold_the_contexts(text, documents):
    windows, _ = read(text, documents)
    found = []
    for window in windows:
        for packed in packed_batches(window, seq_len=32, batch_tokens=64, pad_id=0, device="cpu"):
            assert packed.batch.input_ids.shape[0] <= 2
            ids, positions = packed.batch.input_ids.numpy(), packed.batch.position_ids.numpy()
            for row, start, stop, half in packed.spans:
                found.append((ids[row, start:stop].tolist(), half))
                assert positions[row, start:stop].tolist() == list(range(stop - start))
    assert sorted(found) == sorted((c.ids.tolist(), c.half) for window in windows for c in window)
