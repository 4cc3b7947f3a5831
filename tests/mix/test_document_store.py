"""Any document can be read again from its place, whatever it came from."""

from __future__ import annotations

import gzip
import os
import threading
from pathlib import Path

import pytest
import zstandard

from seatools.mix import document_store
from seatools.mix.document_store import DocumentStore
from seatools.streams.errors import SeaError
from seatools.streams.records import Rejects, check_training

LINES = [b'{"text": "one"}', b'  { "text" :"t\\u0077o", "n": 12345678901234567890123 }', '{"text":"สาม"}'.encode()]


def all_lines(store: DocumentStore, path: Path) -> list[bytes]:
    placed = list(store.records([str(path)], check=check_training, rejects=Rejects()))
    return [store.line(place) for _, place in reversed(placed)][::-1]


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\n\n", b"\n  \n"])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("last", [True, False])
def test_lines_come_back_as_they_stood(tmp_path, ending, start, last):
    path = tmp_path / "a.jsonl"
    path.write_bytes(start + ending.join(LINES) + (ending if last else b""))
    with DocumentStore() as store:
        assert all_lines(store, path) == LINES


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
def test_compressed_lines_too(tmp_path, compress):
    path = tmp_path / f"a.jsonl.{'gz' if compress is gzip.compress else 'zst'}"
    path.write_bytes(compress(b"\n".join(LINES)))
    with DocumentStore() as store:
        assert all_lines(store, path) == LINES


def test_a_named_pipe_is_read_once_and_kept(tmp_path):
    path = tmp_path / "pipe.jsonl"
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: path.write_bytes(b"\n".join(LINES)))
    writer.start()
    with DocumentStore() as store:
        assert all_lines(store, path) == LINES
        store.check_unchanged()
    writer.join()


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
def test_lines_of_plain_text_become_json(tmp_path, name):
    content = 'a "quoted" \\ line\nสวัสดี\n'.encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    with DocumentStore() as store:
        assert all_lines(store, tmp_path / name) == [
            b'{"text":"a \\"quoted\\" \\\\ line"}',
            '{"text":"สวัสดี"}'.encode(),
        ]


def test_more_files_than_may_be_open(tmp_path, monkeypatch):
    monkeypatch.setattr(document_store, "MAX_OPEN_FILES", 2)
    for i in range(5):
        (tmp_path / f"{i}.jsonl").write_bytes(b'{"text": "%d"}' % i)
    with DocumentStore() as store:
        assert all_lines(store, tmp_path) == [b'{"text": "%d"}' % i for i in range(5)]
        assert len(store._open) == 2


@pytest.mark.parametrize("change", ["append", "cut", "replace", "remove"])
def test_a_file_that_changes_between_the_readings_is_an_error(tmp_path, change):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join(LINES))
    with DocumentStore() as store:
        ((_, place), *_) = list(store.records([str(path)], check=check_training, rejects=Rejects()))
        if change == "append":
            path.write_bytes(b"\n".join([*LINES, LINES[0]]))
        elif change == "cut":
            path.write_bytes(LINES[0][:5])
        elif change == "replace":
            (tmp_path / "b").write_bytes(b"\n".join(LINES))
            os.replace(tmp_path / "b", path)
        else:
            path.unlink()
        with pytest.raises(SeaError, match="changed while it was mixed"):
            store.line(place)
        with pytest.raises(SeaError, match="changed while it was mixed"):
            store.check_unchanged()


def test_a_file_cut_while_it_is_open_is_an_error(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join(LINES))
    with DocumentStore() as store:
        placed = list(store.records([str(path)], check=check_training, rejects=Rejects()))
        store.line(placed[0][1])
        os.truncate(path, 20)
        with pytest.raises(SeaError, match="changed while it was mixed"):
            store.line(placed[2][1])


def test_the_spool_is_gone_afterwards(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b"\n".join(LINES)))
    with DocumentStore() as store:
        all_lines(store, tmp_path / "a.jsonl.gz")
    assert list((tmp_path / "tmp").iterdir()) == []
