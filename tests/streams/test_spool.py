"""Standard input, kept privately until the command is done."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import stat
import sys
from pathlib import Path

import pytest

from seatools.streams.errors import SeaError
from seatools.streams.records import BadRecord, RecordReader
from seatools.streams.spool import spooled


@pytest.fixture
def give(monkeypatch: pytest.MonkeyPatch) -> object:
    return lambda data: monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_stdin_is_read_to_its_end_decompressed_hashed_and_private(give: object, tmp_path: Path) -> None:
    data = b'{"a":1}\n' * 300_000
    give(gzip.compress(data))  # type: ignore[operator]
    with spooled(["-", "b.jsonl"], tmp_path) as (paths, digest):
        assert Path(paths[0]).read_bytes() == data and paths[1] == "b.jsonl"
        assert stat.S_IMODE(os.stat(paths[0]).st_mode) == 0o600
        assert digest == hashlib.sha256(data).hexdigest()
        assert sys.stdin.buffer.closed or sys.stdin.buffer.read() == b""
    assert os.listdir(tmp_path) == []


def test_without_a_dash_nothing_is_read() -> None:
    with spooled(["a.jsonl"]) as (paths, digest):
        assert (paths, digest) == (["a.jsonl"], None)


def test_a_spooled_line_is_still_named_stdin(give: object, tmp_path: Path) -> None:
    give(b'{"a":1}\nbad\n')  # type: ignore[operator]
    with pytest.raises(BadRecord, match="^stdin:2: broken JSON"), spooled(["-"], tmp_path) as (paths, _):
        assert [record.where for record in RecordReader(paths)] == ["stdin:1"]


def test_a_cut_stream_is_an_error_and_nothing_stays(give: object, tmp_path: Path) -> None:
    give(gzip.compress(b'{"a":1}\n')[:-3])  # type: ignore[operator]
    with pytest.raises(SeaError, match="stdin: the compressed stream is broken"), spooled(["-"], tmp_path):
        pass
    assert os.listdir(tmp_path) == []
