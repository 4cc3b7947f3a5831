"""The packed-data file: what is written is read, byte for byte the same each time, and damage is noticed."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tempfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatools.streams.errors import SeaError
from seatools.text.documents import TokenizedDoc
from seatools.text.packed import read_packed, write_packed
from seatools.text.packing import Segment, pack

OPTIONS = {"row_length": 4, "tokenizer_digest": "aa11", "sources": ["en", "ไทย"]}


def doc(*ids: int) -> TokenizedDoc:
    return TokenizedDoc(np.array(ids, np.uint32), np.array([0] + [1] * (len(ids) - 1), np.uint8))


DOCS = [doc(10, 11, 12), doc(20), doc(30, 31, 32, 33, 34, 35)]
ROWS = [[Segment(0, 0, 3), Segment(1, 0, 1)], [Segment(2, 0, 4)], [Segment(2, 4, 2)]]


def packed(tmp_path, **options):
    path = tmp_path / "p.safetensors"
    write_packed(path, ROWS, DOCS, [0, 1, 1], **(OPTIONS | options))
    return path


def test_rows_come_back_document_by_document(tmp_path):
    data = read_packed(packed(tmp_path))
    rows = [[(ids.tolist(), mask.tolist()) for ids, mask in data.row(i)] for i in range(data.num_rows)]
    assert rows == [
        [([10, 11, 12], [0, 1, 1]), ([20], [0])],
        [([30, 31, 32, 33], [0, 1, 1, 1])],
        [([34, 35], [0, 1])],  # 34 was trained in its document, but here nothing stands before it
    ]
    assert [data.row_sources(i).tolist() for i in range(3)] == [[0, 1], [1], [1]]
    assert [data.row_lens(i).tolist() for i in range(3)] == [[3, 1], [4], [2]]
    assert (data.num_tokens, data.num_targets, data.row_length, data.sources) == (10, 6, 4, ["en", "ไทย"])


def test_metadata_says_what_the_file_is_and_what_the_caller_adds(tmp_path):
    data = read_packed(packed(tmp_path, extra={"seed": "7"}))
    assert data.metadata == {
        "format": "sea-packed",
        "version": "1",
        "tokenizer_digest": "aa11",
        "row_length": "4",
        "sources": '["en", "ไทย"]',
        "num_tokens": "10",
        "num_targets": "6",
        "num_cut_docs": "1",
        "num_cut_targets": "1",
        "seed": "7",
    }


def test_the_safetensors_package_reads_the_same(tmp_path):
    from safetensors import safe_open

    path = packed(tmp_path)
    data = read_packed(path)
    with safe_open(path, framework="numpy") as file:
        assert file.metadata() == data.metadata
        assert set(file.keys()) == {"input_ids", "loss_mask", "doc_lens", "source_id", "row_tokens", "row_docs"}
        for name in file.keys():  # noqa: SIM118 - not a dict
            tensor = file.get_tensor(name)
            assert tensor.dtype == getattr(data, name).dtype
            assert tensor.tolist() == getattr(data, name).tolist()


@given(st.lists(st.integers(1, 40), max_size=30), st.integers(1, 16))
def test_packing_writing_and_reading_gives_every_token_back(lengths, row_length):
    docs = [doc(*(1000 * i + t for t in range(length))) for i, length in enumerate(lengths)]
    rows = pack(lengths, row_length, window=7)
    file = io.BytesIO()
    write_packed(file, rows, docs, [0] * len(docs), row_length=row_length, tokenizer_digest="d", sources=["s"])
    content = file.getvalue()
    with tempfile.NamedTemporaryFile() as saved:
        saved.write(content)
        saved.flush()
        data = read_packed(saved.name)
        found = [(ids.tolist(), mask.tolist()) for i in range(data.num_rows) for ids, mask in data.row(i)]
    assert sorted(token for ids, _ in found for token in ids) == sorted(t for d in docs for t in d.ids.tolist())
    assert [ids for ids, _ in found] == [docs[d].ids[s : s + n].tolist() for row in rows for d, s, n in row]
    assert all(mask == [0] + [1] * (len(mask) - 1) for _, mask in found)
    assert data.num_targets == sum(sum(mask) for _, mask in found)


def test_the_bytes_are_the_same_in_every_process(tmp_path):
    script = (
        "import sys, numpy as np; from seatools.text.packed import write_packed\n"
        "write_packed(sys.stdout.buffer, [], [], [], row_length=4, tokenizer_digest='d', sources=['a', 'b'],"
        " extra={c: c for c in 'hgfedcba'})"
    )
    runs = {subprocess.run([sys.executable, "-c", script], check=True, capture_output=True).stdout for _ in range(3)}
    assert len(runs) == 1 and len(runs.pop()) > 100


def test_no_rows_is_a_file_too(tmp_path):
    write_packed(tmp_path / "e", [], [], [], **OPTIONS)
    data = read_packed(tmp_path / "e")
    assert (data.num_rows, data.num_tokens, data.num_targets) == (0, 0, 0)


def test_arrays_are_maps_that_cannot_be_written(tmp_path):
    data = read_packed(packed(tmp_path))
    with pytest.raises(ValueError, match="read-only"):
        data.input_ids[0] = 1


def test_another_tokenizer_is_refused_with_both_digests(tmp_path):
    data = read_packed(packed(tmp_path))
    data.check_tokenizer("aa11")
    with pytest.raises(SeaError, match=r"p\.safetensors: packed with the tokenizer aa11, but this one is bb22"):
        data.check_tokenizer("bb22")


def test_an_existing_path_is_not_overwritten(tmp_path):
    (tmp_path / "p.safetensors").write_bytes(b"mine")
    with pytest.raises(SeaError, match="exists"):
        packed(tmp_path)
    assert (tmp_path / "p.safetensors").read_bytes() == b"mine"


def test_a_row_longer_than_the_row_length_is_not_written(tmp_path):
    with pytest.raises(SeaError, match="a row of 4 tokens does not fit"):
        packed(tmp_path, row_length=3)
    assert not (tmp_path / "p.safetensors").exists()


def test_every_truncation_is_noticed(tmp_path):
    whole = packed(tmp_path).read_bytes()
    path = tmp_path / "cut"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(SeaError, match="cut: "):
            read_packed(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(SeaError, match="where its header promises"):
        read_packed(path)


def test_other_files_are_refused_by_name(tmp_path, shared):
    (tmp_path / "t.jsonl").write_text('{"text": "not tensors"}\n' * 10)
    with pytest.raises(SeaError, match="t.jsonl: not a safetensors file"):
        read_packed(tmp_path / "t.jsonl")
    with pytest.raises(SeaError, match="model.safetensors: not packed data"):
        read_packed(shared / "models" / "stories260K" / "model.safetensors")
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(SeaError, match=f"{path.name}: (Is a directory|No such file)"):
            read_packed(path)


def changed(tmp_path, name: str, values: list[int] | None = None, **metadata: str):
    """The packed file with one tensor or some metadata replaced, written by the safetensors package."""
    from safetensors import safe_open
    from safetensors.numpy import save_file

    with safe_open(packed(tmp_path), framework="numpy") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        metadata = file.metadata() | metadata
    if values is not None:
        tensors[name] = np.array(values, tensors[name].dtype)
    save_file(tensors, tmp_path / "changed", metadata=metadata)
    return tmp_path / "changed"


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("row_tokens", [0, 4, 7, 10], "do not begin where a document begins"),
        ("row_tokens", [0, 4, 10], "do not begin where a document begins"),
        ("row_docs", [0, 3, 2, 4], "row offsets"),
        ("row_docs", [0, 2, 3, 5], "row offsets"),
        ("row_docs", [], "row offsets"),
        ("doc_lens", [3, 1, 4, 3], "do not add up"),
        ("doc_lens", [3, 0, 4, 3], "an empty document"),
        ("source_id", [0, 1, 1, 2], "a source without a name"),
        ("source_id", [0, 1, 1], "documents than sources"),
        ("loss_mask", [1] * 9, "tokens than masks"),
    ],
)
def test_inconsistent_tensors_are_refused(tmp_path, name, values, message):
    with pytest.raises(SeaError, match=f"changed: damaged packed data: .*{message}"):
        read_packed(changed(tmp_path, name, values))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("row_length", "3", "a row longer than 3"),
        ("row_length", "four", "its metadata"),
        ("num_targets", "11", "more targets than tokens"),
        ("tokenizer_digest", "", "no tokenizer digest"),
        ("version", "2", "version 2; this sea reads 1"),
        ("format", "other", "not packed data"),
    ],
)
def test_inconsistent_metadata_is_refused(tmp_path, key, value, message):
    with pytest.raises(SeaError, match=f"changed: .*{message}"):
        read_packed(changed(tmp_path, "", **{key: value}))


def test_sources_are_named_in_json(tmp_path):
    data = read_packed(packed(tmp_path, sources=['a "b"', "c\n"]))
    assert json.loads(data.metadata["sources"]) == data.sources == ['a "b"', "c\n"]
