"""Lines under keys that survive a kill: places, torn ends, damage, two writers, a full disk."""

from __future__ import annotations

import os
from pathlib import Path

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seatools.streams.appended_lines import AppendedLines, is_torn, rank_file, rank_files
from seatools.streams.errors import UsageError
from seatools.streams.records import BadRecord


def key_of(line: bytes) -> str:
    try:
        return str(orjson.loads(line)["key"])
    except (orjson.JSONDecodeError, KeyError) as error:
        raise BadRecord("no line", "no line of ours") from error


def line_of(key: str, text: str = "") -> bytes:
    return orjson.dumps({"key": key, "text": text}) + b"\n"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.text(max_size=9), max_size=5), cut=st.integers(0, 400), more=st.text(max_size=5))
def test_what_was_whole_before_a_kill_is_there_and_the_rest_is_not(tmp_path, texts, cut, more):
    path = tmp_path / "f.jsonl"
    path.unlink(missing_ok=True)
    lines = [line_of(str(n), text) for n, text in enumerate(texts)]
    with AppendedLines(path, key_of) as file:
        assert [file.put(str(n), line) for n, line in enumerate(lines)] == [True] * len(lines)
        assert not lines or not file.put("0", b"other\n")
    content = path.read_bytes()[:cut]
    path.write_bytes(content)
    whole = content.count(b"\n") + (
        not content.endswith(b"\n") and content[content.rfind(b"\n") + 1 :] + b"\n" in lines
    )
    with AppendedLines(path, key_of) as file:
        assert list(file) == [str(n) for n in range(whole)] and len(file) == whole
        assert file.put("more", line_of("more", more))
        assert [file.get(key).rstrip(b"\n") for key in file] == [
            line.rstrip(b"\n") for line in [*lines[:whole], line_of("more", more)]
        ]
    assert path.read_bytes() == b"".join([*lines[:whole], line_of("more", more)])


def test_damage_names_its_line_and_changes_nothing(tmp_path: Path):
    path = tmp_path / "f.jsonl"
    path.write_bytes(line_of("a") + b"damage\n" + line_of("b"))
    before = path.read_bytes()
    with pytest.raises(BadRecord) as error:
        AppendedLines(path, key_of)
    assert error.value.where == f"{path}:2" and path.read_bytes() == before


def test_two_writers_are_refused(tmp_path: Path):
    with AppendedLines(tmp_path / "f", key_of), pytest.raises(UsageError, match="another run is writing"):
        AppendedLines(tmp_path / "f", key_of)


def test_a_full_disk_leaves_whole_lines(tmp_path: Path, monkeypatch):
    with AppendedLines(tmp_path / "f", key_of) as file:
        file.put("a", line_of("a"))
        real = os.write

        def half(descriptor: int, line: bytes) -> int:
            if len(line) < 10:
                raise OSError(28, "No space left on device")
            return real(descriptor, line[:10])

        monkeypatch.setattr(os, "write", half)
        with pytest.raises(OSError, match="No space left"):
            file.put("b", line_of("b")[:15])
        monkeypatch.setattr(os, "write", real)
        assert "b" not in file and file.put("b", line_of("b"))
    assert (tmp_path / "f").read_bytes() == line_of("a") + line_of("b")


def test_the_files_of_other_processes_are_known_by_name(tmp_path: Path):
    path = tmp_path / "o.jsonl"
    for rank in (1, 12):
        rank_file(path, rank).touch()
    for name in ("o.jsonl", "o.jsonl.rank0", "o.jsonl.rank1.bak", "xo.jsonl.rank1"):
        (tmp_path / name).touch()
    assert rank_files(path) == [rank_file(path, 1), rank_file(path, 12)]


@pytest.mark.parametrize(("last", "torn"), [(b'{"a": 1', True), (b'{"a": 1}', False), (b'{"a": "\xe0', True)])
def test_a_piece_of_an_object_is_torn(last, torn):
    assert is_torn(last) is torn
