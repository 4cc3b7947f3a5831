"""Parts of a mix are the mix: spans one after the other, files of a folder one after the other."""

from __future__ import annotations

import gzip
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mix_sources import plan_of, write_records

from seatools.mix.document_store import DocumentStore
from seatools.mix.emission import emit
from seatools.mix.packed_mix import write_packed_mix
from seatools.mix.shards import parse_shard, shard_span, write_packed_shards, write_shards
from seatools.streams.errors import SeaError, UsageError
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


@pytest.mark.parametrize("text", ["4/4", "1", "-1/4", "a/4", "1/4/2", "0/0", ""])
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(UsageError, match="--shard"):
        parse_shard(text)
    assert parse_shard("0/4") == (0, 4) and parse_shard("3/4") == (3, 4)


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


def test_packed_shards_have_the_rows_of_the_single_file(tmp_path, packed_plan, documents):
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


def assert_same_rows(one, other):
    assert (one.num_rows, one.num_tokens, one.num_targets) == (other.num_rows, other.num_tokens, other.num_targets)
    for i in range(one.num_rows):
        for (ids, mask), (other_ids, other_mask) in zip(one.row(i), other.row(i), strict=True):
            assert ids.tolist() == other_ids.tolist() and mask.tolist() == other_mask.tolist()
        assert one.row_lens(i).tolist() == other.row_lens(i).tolist()
        assert one.row_sources(i).tolist() == other.row_sources(i).tolist()


@pytest.mark.parametrize("workers", [1, 2])
def test_packed_files_of_a_size_hold_whole_windows(tmp_path, packed_plan, documents, workers):
    (tmp_path / "out").mkdir()
    counts = write_packed_shards(
        packed_plan, documents, tmp_path / "out", shard_bytes=6000, workers=workers, quiet=True
    )
    paths = shard_paths(tmp_path / "out")
    assert len(paths) == counts["parts"] > 3
    with (tmp_path / "whole").open("wb") as stream:
        single = write_packed_mix(packed_plan, documents, stream, workers=1, quiet=True)
    assert {**single, "parts": len(paths)} == counts
    assert_same_rows(read_packed_files(paths), read_packed(tmp_path / "whole"))
    (tmp_path / "out" / "part-00001.safetensors").unlink()
    with pytest.raises(SeaError, match=r"part-00001\.safetensors is missing"):
        shard_paths(tmp_path / "out")


def test_memory_is_bounded_by_the_window(tmp_path, store, documents):
    """Four times the documents take no more memory than once, beyond what plan and index hold of each."""
    import tracemalloc

    peaks = []
    for copies in (1, 4):
        text = [f"{i} {'y' * 2000}" for i in range(100 * copies)]
        path = write_records(tmp_path / f"{copies}.jsonl", text)
        plan = plan_of([path], store, documents=documents, unit="tokens", pack=256, pack_window=20, max_epochs=1)
        tracemalloc.start()
        with (tmp_path / "out").open("wb") as stream:
            write_packed_mix(plan, documents, stream, workers=1, quiet=True)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0] + 100_000  # all of it would be 4 MB more
