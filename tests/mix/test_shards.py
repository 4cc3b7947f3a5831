"""Parts of a mix are the mix: spans one after the other, files of a folder one after the other."""

from __future__ import annotations

import gzip
import io
import os
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mix_sources import plan_of, write_records

from seatools.mix import packed_mix
from seatools.mix.document_store import DocumentStore
from seatools.mix.emission import emit
from seatools.mix.packed_mix import packed_windows, window_counts, write_packed_mix
from seatools.mix.shards import shard_span, write_packed_shards, write_shards
from seatools.streams.errors import SeaError
from seatools.text.documents import load_documents
from seatools.text.packed import TENSORS, read_packed
from seatools.text.packed_shards import read_packed_files, shard_paths

WINDOW, ROW = 16, 32


@pytest.fixture(scope="module")
def documents(byte_tokenizer):
    return load_documents(byte_tokenizer)


@pytest.fixture
def paths(tmp_path):
    (tmp_path / "in").mkdir()
    a = write_records(tmp_path / "in" / "a.jsonl", [f"a{i} {'x' * (i % 60)}" for i in range(120)])
    return [a, write_records(tmp_path / "in" / "b.jsonl", ["b" * 300, *(f"b{i}" for i in range(60))])]


@pytest.fixture
def store():
    with DocumentStore() as store:
        yield store


@pytest.fixture
def packed_plan(paths, store, documents):
    return plan_of(paths, store, documents=documents, unit="tokens", pack=ROW, pack_window=WINDOW)


@given(st.integers(0, 10_000), st.integers(1, 50), st.integers(1, 700))
def test_spans_are_the_whole_in_order_cut_at_multiples(num_emissions, total, multiple):
    spans = [shard_span(num_emissions, index, total, multiple) for index in range(total)]
    assert [i for span in spans for i in span] == list(range(num_emissions))
    assert all(span.start % multiple == 0 for span in spans if span)
    assert max(map(len, spans)) - min(map(len, spans)) < 2 * multiple or multiple == 1
    if multiple == 1:
        assert max(map(len, spans)) - min(map(len, spans)) <= 1


@pytest.mark.parametrize(("suffix", "opened"), [(".jsonl", bytes), (".jsonl.gz", gzip.decompress)])
@pytest.mark.parametrize("size", [250, 1000, 1 << 30])
def test_files_of_a_size_are_the_single_file_cut_between_lines(tmp_path, paths, store, suffix, opened, size):
    plan = plan_of(paths, store)
    whole = io.BytesIO()
    emit(plan, whole, quiet=True)
    (tmp_path / "out").mkdir()
    counts = write_shards(plan, tmp_path / "out", shard_bytes=size, suffix=suffix, quiet=True)
    parts = sorted((tmp_path / "out").iterdir())
    assert [part.name for part in parts] == [f"part-{i:05}{suffix}" for i in range(counts["parts"])]
    contents = [opened(part.read_bytes()) for part in parts]
    assert b"".join(contents) == whole.getvalue()
    assert all(content.endswith(b"\n") for content in contents)
    assert all(len(content) <= size or content.count(b"\n") == 1 for content in contents)
    for before, after in zip(contents, contents[1:], strict=False):
        assert len(before) + after.index(b"\n") + 1 > size  # none is cut too early


@pytest.mark.parametrize("max_tokens", [packed_mix.MAX_WINDOW_TOKENS, 250])
def test_packed_shards_have_the_rows_of_the_single_file(tmp_path, packed_plan, documents, monkeypatch, max_tokens):
    monkeypatch.setattr(packed_mix, "MAX_WINDOW_TOKENS", max_tokens)

    def write(name, span=None):
        with (tmp_path / name).open("wb") as stream:
            counts = write_packed_mix(packed_plan, documents, stream, span=span, workers=1, quiet=True)
        return read_packed(tmp_path / name), counts

    whole, counts = write("whole")
    assert counts["tokens"] == whole.num_tokens and counts["rows"] == whole.num_rows > 20
    num = len(packed_plan.schedule.order)
    parts = [write(str(i), shard_span(num, i, 4, WINDOW))[0] for i in range(4)]
    for name in TENSORS.keys() - {"row_docs", "row_tokens"}:
        assert np.concatenate([getattr(part, name) for part in parts]).tolist() == getattr(whole, name).tolist(), name
    joined = read_packed_files([tmp_path / str(i) for i in range(4)])
    assert_same_rows(joined, whole)
    with pytest.raises(ValueError, match="not cut at windows"):
        write("x", range(1, num))


def test_a_window_is_bounded_in_tokens_too(packed_plan, documents, monkeypatch):
    span = range(len(packed_plan.schedule.order))
    lengths = [
        [len(doc.ids) for doc in packed.docs] for packed in packed_windows(packed_plan, documents, span, workers=1)
    ]
    monkeypatch.setattr(packed_mix, "MAX_WINDOW_TOKENS", 250)
    bounded = [
        [len(doc.ids) for doc in packed.docs] for packed in packed_windows(packed_plan, documents, span, workers=1)
    ]
    assert sum(bounded, []) == sum(lengths, [])
    assert all(sum(window[:-1]) < 250 for window in bounded) and max(map(sum, lengths)) > 2 * 250
    for before in np.cumsum(list(map(len, lengths))).tolist():  # the windows of documents are cut where they were
        assert before in np.cumsum(list(map(len, bounded))).tolist()
    counts = [window[2] for window in window_counts(packed_plan, span)]
    assert counts == list(map(sum, bounded))


def assert_same_rows(one, other):
    assert (one.num_rows, one.num_tokens, one.num_targets) == (other.num_rows, other.num_tokens, other.num_targets)
    for i in range(one.num_rows):
        for (ids, mask), (other_ids, other_mask) in zip(one.row(i), other.row(i), strict=True):
            assert ids.tolist() == other_ids.tolist() and mask.tolist() == other_mask.tolist()
        assert one.row_lens(i).tolist() == other.row_lens(i).tolist()
        assert one.row_sources(i).tolist() == other.row_sources(i).tolist()


HEADER = 640  # bytes of a file that are not its tensors, a little less than there are


def window_files(plan, documents):
    """(rows, bytes) of the file of each window of documents."""
    found = []
    for first in range(0, len(plan.schedule.order), WINDOW):
        file, span = io.BytesIO(), range(first, min(first + WINDOW, len(plan.schedule.order)))
        found.append((write_packed_mix(plan, documents, file, span=span, quiet=True)["rows"], file.tell()))
    return found


@pytest.mark.parametrize(("size", "workers"), [(6000, 1), (6000, 2), (9000, 1), (4000, 1)])
def test_packed_files_of_a_size_hold_whole_windows(tmp_path, packed_plan, documents, size, workers):
    (tmp_path / "out").mkdir()
    counts = write_packed_shards(
        packed_plan, documents, tmp_path / "out", shard_bytes=size, workers=workers, quiet=True
    )
    paths = shard_paths(tmp_path / "out")
    assert len(paths) == counts["parts"] > 3
    windows, held = window_files(packed_plan, documents), []
    for path in paths:
        num_windows, rows = 0, read_packed(path).num_rows
        while rows > 0:
            rows -= windows[sum(held) + num_windows][0]
            num_windows += 1
        assert rows == 0  # whole windows
        held.append(num_windows)
        assert path and (os.path.getsize(path) <= size or num_windows == 1)
    assert sum(held) == len(windows)
    for path, after in zip(paths, np.cumsum(held)[:-1].tolist(), strict=False):  # none is closed too early
        assert os.path.getsize(path) + windows[after][1] - HEADER > size
    with (tmp_path / "whole").open("wb") as stream:
        single = write_packed_mix(packed_plan, documents, stream, workers=1, quiet=True)
    assert {**single, "parts": len(paths)} == counts
    assert_same_rows(read_packed_files(paths), read_packed(tmp_path / "whole"))
    (tmp_path / "out" / "part-00001.safetensors").unlink()
    with pytest.raises(SeaError, match=r"part-00001\.safetensors is missing"):
        shard_paths(tmp_path / "out")


def test_memory_is_bounded_by_the_window(tmp_path, store, documents):
    """Four times the documents take no more memory than once, beyond what plan and index hold of each."""
    peaks = []
    for copies in (1, 4):
        peaks.append(packing_peak(tmp_path, store, documents, 100 * copies, pack_window=20))
    assert peaks[1] < 1.1 * peaks[0] + 100_000  # all of it would be 4 MB more


def test_memory_is_bounded_by_tokens_where_documents_are_long(tmp_path, store, documents, monkeypatch):
    unbounded = packing_peak(tmp_path, store, documents, 800, pack_window=800)
    monkeypatch.setattr(packed_mix, "MAX_WINDOW_TOKENS", 40_000)
    assert packing_peak(tmp_path, store, documents, 800, pack_window=800) < unbounded / 3


def packing_peak(tmp_path, store, documents, num_docs, *, pack_window):
    """Bytes of Python's and numpy's memory at most, for documents of 2,000 tokens."""
    path = write_records(tmp_path / f"{num_docs}.jsonl", [f"{i} {'y' * 2000}" for i in range(num_docs)])
    options = {"unit": "tokens", "pack": 256, "pack_window": pack_window, "max_epochs": 1}
    plan = plan_of([path], store, documents=documents, **options)
    tracemalloc.start()
    with (tmp_path / "out").open("wb") as stream:
        write_packed_mix(plan, documents, stream, workers=1, quiet=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak
