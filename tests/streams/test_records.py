"""JSONL in: what a reader delivers, and how every kind of bad line is named and handled."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from seatools.streams.errors import SeaError, UsageError
from seatools.streams.records import (
    BadRecord,
    Record,
    RecordReader,
    Rejects,
    check_text,
    dump,
    with_keys,
)

REPOSITORY = str(Path(__file__).resolve().parents[2])


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(content: bytes, name: str = "a.jsonl", **options: Any) -> list[tuple[int, bytes]]:
    Path(name).write_bytes(content)
    return [(record.line, record.raw) for record in RecordReader(name, **options)]


# What is read


@pytest.mark.parametrize(
    "content",
    [
        b'{"a":1}\n{"a":2}\n',
        b'{"a":1}\r\n{"a":2}\r\n',
        b'\xef\xbb\xbf{"a":1}\n{"a":2}',
        gzip.compress(b'{"a":1}\n') + gzip.compress(b'{"a":2}\n'),
        zstandard.ZstdCompressor().compress(b'{"a":1}\n{"a"') + zstandard.ZstdCompressor().compress(b":2}"),
    ],
    ids=["plain", "CRLF", "BOM and no last newline", "gzip members", "zstd frames that split a record"],
)
def test_two_records_however_they_are_written(content: bytes) -> None:
    assert read(content) == [(1, b'{"a":1}'), (2, b'{"a":2}')]


def test_blank_lines_are_passed_over_and_counted() -> None:
    assert read(b'\n  \r\n{"a":1}\n\n\n{"a":2}\n\n') == [(3, b'{"a":1}'), (6, b'{"a":2}')]


def test_a_byte_order_mark_later_on_is_no_json() -> None:
    with pytest.raises(BadRecord, match=r"a\.jsonl:2: broken JSON"):
        read(b'{"a":1}\n\xef\xbb\xbf{"a":2}\n')


def test_an_empty_file_has_no_records() -> None:
    assert read(b"") == []


def test_a_record_keeps_its_bytes_and_says_where_it_stood() -> None:
    line = b'{ "text" : "caf\\u00e9" ,"n":1.0e2, "x":12345678901234567890123 }'
    Path("a.jsonl").write_bytes(b"\n" + line + b"\n")
    (record,) = RecordReader("a.jsonl", check=check_text)
    assert (record.raw, record.value["text"], record.where) == (line, "café", "a.jsonl:2")


@pytest.mark.parametrize(("name", "pack"), [("a.txt", bytes), ("a.txt.gz", gzip.compress)])
def test_plain_text_is_one_document_a_line_and_its_line_is_json(name: str, pack: Callable[[bytes], bytes]) -> None:
    content = '\ufeffone "1"\n\nสอง\r\n'.encode()
    assert read(pack(content), name) == [(1, b'{"text":"one \\"1\\""}'), (3, '{"text":"สอง"}'.encode())]


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.ZstdCompressor().compress])
def test_stdin(pack: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(pack(b'{"a":1}\n'))))
    assert [record.where for record in RecordReader("-")] == ["stdin:1"]


def test_several_files_are_read_in_order_and_counted() -> None:
    Path("1.jsonl").write_bytes(b'{"a":1}\n')
    Path("2.jsonl").write_bytes(b'{"a":2}\n{"a":3}')
    reader = RecordReader("*.jsonl")
    assert [record.where for record in reader] == ["1.jsonl:1", "2.jsonl:1", "2.jsonl:2"]
    assert (reader.num_read, reader.num_bytes) == (3, 8 + 8 + 7)


def test_limit_counts_good_records_over_all_files() -> None:
    Path("1.jsonl").write_bytes(b'{"a":1}\nbad\n{"a":2}\n')
    Path("2.jsonl").write_bytes(b'{"a":3}\nnever reached\n')
    reader = RecordReader(["1.jsonl", "2.jsonl"], limit=3, rejects=Rejects("skip"))
    assert [record.value["a"] for record in reader] == [1, 2, 3]
    assert reader.rejects.total == 1


@pytest.mark.parametrize(
    ("extension", "pack"), [(".gz", gzip.compress), (".zst", zstandard.ZstdCompressor(write_checksum=True).compress)]
)
def test_a_damaged_compressed_file_is_an_error_whatever_the_policy(
    extension: str, pack: Callable[[bytes], bytes]
) -> None:
    whole = pack(b"".join(b'{"n":"%d"}\n' % (n * n) for n in range(20_000)))
    middle = len(whole) // 2
    for broken in (whole[:-3], whole[:middle], whole[:middle] + b"\0\1\2\3\4\5\6\7" + whole[middle + 8 :]):
        with pytest.raises(SeaError, match=rf"a\.jsonl{extension}:\d+: the compressed stream is broken"):
            read(broken, f"a.jsonl{extension}", rejects=Rejects("skip"))


# Bad lines

GOOD = b'{"text":"fine"}'
BAD_LINES = {
    "broken json": (b'{"text":"cut', "broken JSON: "),
    "not an object": (b'["text"]', "a JSON list, not an object"),
    "no text": (b'{"content":"x"}', 'field "text" is missing'),
    "text not a string": (b'{"text":5}', 'field "text" is int, not a string'),
    "empty text": (b'{"text":" \\n"}', 'field "text" is empty'),
    "not utf-8": (b'{"text":"\xff"}', "invalid UTF-8 at byte 9"),
    "nul": (b'{"text":"a\0b"}', "the line holds a NUL byte"),
    "line too long": (b'{"text":"' + b"x" * 200 + b'"}', "a line of 212 bytes; 100 are allowed"),
}
BAD_VALUES = {
    "nul escaped": ("nul", b'{"text":"a\\u0000b"}'),
    "NaN": ("broken json", b'{"text":"a","n":NaN}'),
    "lone surrogate": ("broken json", b'{"text":"\\ud800"}'),
    "two objects": ("broken json", b'{"text":"a"}{"text":"b"}'),
    "number": ("not an object", b"5"),
    "null text": ("text not a string", b'{"text":null}'),
    "UTF-16": ("nul", '{"text":"a"}'.encode("utf-16")),
    "nested too deep": ("broken json", b'{"text":' + b"[" * 5000),
}


@pytest.mark.parametrize(("reason", "line", "what"), [(key, *value) for key, value in BAD_LINES.items()])
def test_a_bad_line_stops_the_run_with_file_and_line(reason: str, line: bytes, what: str) -> None:
    with pytest.raises(BadRecord) as caught:
        read(GOOD + b"\n" + line + b"\n" + GOOD, check=check_text, max_line_bytes=100)
    assert caught.value.report().startswith(f"error: a.jsonl:2: {what}")
    assert caught.value.report().count("\n") <= 1
    assert (caught.value.reason, caught.value.exit_code) == (reason, 1)


@pytest.mark.parametrize(("reason", "line", "what"), [(key, *value) for key, value in BAD_LINES.items()])
def test_a_bad_line_is_skipped_and_counted(reason: str, line: bytes, what: str) -> None:
    rejects = Rejects("skip")
    got = read(line + b"\n" + GOOD + b"\n" + line, check=check_text, max_line_bytes=100, rejects=rejects)
    assert got == [(2, GOOD)]
    assert dict(rejects.counts) == {reason: 2}
    assert rejects.summary().startswith(f"2 rejected ({reason} 2); first: a.jsonl:1: {what}")


@pytest.mark.parametrize(("reason", "line", "what"), [(key, *value) for key, value in BAD_LINES.items()])
def test_a_bad_line_is_quarantined_with_its_reason(reason: str, line: bytes, what: str) -> None:
    kept = io.BytesIO()
    rejects = Rejects("quarantine", kept)
    got = read(GOOD + b"\n" + line + b"\n", check=check_text, max_line_bytes=100, rejects=rejects)
    row = json.loads(kept.getvalue())
    assert got == [(1, GOOD)]
    assert (row["file"], row["line"], row["reason"]) == ("a.jsonl", 2, reason)
    assert row["error"].startswith(what)
    raw = row["raw"].encode() if "raw" in row else base64.b64decode(row["raw_base64"])
    assert raw == (line[:101] if reason == "line too long" else line)


@pytest.mark.parametrize(("reason", "line"), BAD_VALUES.values(), ids=BAD_VALUES.keys())
def test_more_lines_that_are_bad(reason: str, line: bytes) -> None:
    rejects = Rejects("skip")
    assert read(line, check=check_text, rejects=rejects) == []
    assert set(rejects.counts) == {reason}


def test_hints_for_the_usual_mistakes() -> None:
    for content, hint in [
        (b"Just a sentence.", "must be named .txt"),
        (b'{"content":"x"}', 'jq -c ".text = .content"'),
        (b'\x00{"text"', "UTF-16, or cut off by a crash?"),
    ]:
        with pytest.raises(BadRecord) as caught:
            read(content, check=check_text)
        assert hint in (caught.value.fix or "")


def test_invalid_utf8_in_plain_text_is_named() -> None:
    with pytest.raises(BadRecord, match=r"a\.txt:2: invalid UTF-8 at byte 1"):
        read(b"one\nt\xffo\n", "a.txt")


def test_a_line_of_exactly_the_limit_passes() -> None:
    line = GOOD + b"\n"
    assert read(line, max_line_bytes=len(line)) == [(1, GOOD)]
    with pytest.raises(BadRecord, match="line too long|bytes; 15 are allowed"):
        read(line, max_line_bytes=len(line) - 1)


def test_memory_does_not_grow_with_the_longest_line() -> None:
    """A line of 300 MB, plain and as 10 KB of zstd, under a limit of 1 MiB; the process may gain 100 MB."""
    with open("plain.jsonl", "wb") as stream:
        stream.truncate(300_000_000)
        stream.seek(0, 2)
        stream.write(b'\n{"a":1}\n')
    packer = zstandard.ZstdCompressor(level=19).compressobj()
    with open("packed.jsonl.zst", "wb") as stream:
        for _ in range(300):
            stream.write(packer.compress(b"x" * 1_000_000))
        stream.write(packer.compress(b'\n{"a":1}\n') + packer.flush())
    program = """
import resource, sys
from seatools.streams.records import RecordReader, Rejects
import seatools.streams.inputs, zstandard
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
before = peak()
for path in ("plain.jsonl", "packed.jsonl.zst"):
    reader = RecordReader(path, max_line_bytes=1 << 20, rejects=Rejects("skip"))
    print([record.line for record in reader], dict(reader.rejects.counts))
print(peak() - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": REPOSITORY},
    )
    first, second, grown = done.stdout.splitlines()
    assert first == second == "[2] {'line too long': 1}"
    assert int(grown) < 100


def test_a_later_step_may_reject_too() -> None:
    rejects = Rejects("skip")
    Path("a.jsonl").write_bytes(GOOD)
    for record in RecordReader("a.jsonl", rejects=rejects):
        rejects.take(BadRecord("too short", "2 tokens", where=record.where), record.raw, record.path, record.line)
    assert rejects.summary() == "1 rejected (too short 1); first: a.jsonl:1: 2 tokens"


def test_a_quarantine_file_may_not_be_an_input() -> None:
    Path("a.jsonl").write_bytes(GOOD)
    with pytest.raises(UsageError, match="both input and quarantine"):
        RecordReader("*.jsonl", rejects=Rejects("quarantine", io.BytesIO(), "./a.jsonl"))


# Writing: other keys pass through byte for byte


@pytest.mark.parametrize(
    ("raw", "new", "expected"),
    [
        (b'{"a":1.0e2, "b":12345678901234567890123}', {"c": 1}, b'{"a":1.0e2, "b":12345678901234567890123,"c":1}'),
        (b' {"a" : "\\u00e9\\/" } ', {"b": "é"}, '{"a" : "\\u00e9\\/","b":"é"}'.encode()),
        (b"{ }", {"a": None}, b'{"a":null}'),
        (b'{"a":1}', {}, b'{"a":1}'),
        (b'{"a": 1, "b":0.10, "a":3}', {"a": 4}, b'{"b":0.10,"a":4}'),
        (b'{"\\u0061":[1, {"a":"}"}], "b" :-0.0 }', {"a": 4}, b'{"b" :-0.0,"a":4}'),
        (b'{"a":1}', {"a": 2}, b'{"a":2}'),
        (b'{"a":1,"n":' + b"0." + b"7" * 5000 + b"}", {"a": 2}, b'{"n":0.' + b"7" * 5000 + b',"a":2}'),
    ],
)
def test_keys_are_added_at_the_end_and_replace_their_namesakes(
    raw: bytes, new: dict[str, Any], expected: bytes
) -> None:
    assert with_keys(raw, new) == expected


SPACES = st.text(" \t\r", max_size=2)
NUMBERS = st.sampled_from(["0", "-0", "-0.0", "1e5", "1E+05", "0.10", "123456789012345678901234567890", "1.50000e-7"])
STRINGS = st.text(max_size=6).flatmap(
    lambda text: st.sampled_from([json.dumps(text), json.dumps(text, ensure_ascii=False).replace("/", "\\/")])
)


def test_keys_can_be_dropped() -> None:
    assert with_keys(b'{"a" : 1, "b": 2 ,"c":3.0}', {"d": 4}, drop=["b", "x"]) == b'{"a" : 1,"c":3.0,"d":4}'


def _array(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(SPACES, st.lists(children, max_size=3)).map(lambda pair: f"[{pair[0]}{','.join(pair[1])}]")


def _object(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    members = st.lists(st.tuples(STRINGS, SPACES, SPACES, children), max_size=3)
    return members.map(lambda rows: "{" + ",".join(f"{k}{a}:{b}{v}" for k, a, b, v in rows) + "}")


VALUES = st.recursive(
    NUMBERS | STRINGS | st.sampled_from(["true", "false", "null", '"}"', '",\\""', "[]", "{}"]),
    lambda children: _array(children) | _object(children),
    max_leaves=5,
)
KEYS = st.sampled_from(["a", "b", "added", 'with \\" quote', "ไทย", "", "\\u0061", "}", ":"])
MEMBERS = st.lists(st.tuples(KEYS, SPACES, SPACES, VALUES, SPACES), max_size=5)


def _spell(members: Sequence[tuple[str, ...]]) -> list[str]:
    return [f'"{key}"{a}:{b}{value}' for key, a, b, value, _ in members]


@given(members=MEMBERS, outer=SPACES)
def test_every_other_member_keeps_its_bytes(members: list[tuple[str, ...]], outer: str) -> None:
    new = {"added": [1, "é"], "b": None}
    spelled = _spell(members)
    raw = (
        outer + "{" + outer + ",".join(text + row[4] for text, row in zip(spelled, members, strict=True)) + "}" + outer
    )
    out = with_keys(raw.encode(), new)
    kept = [text for text, row in zip(spelled, members, strict=True) if row[0] not in new]
    position = 0
    for text in kept:  # in order, byte for byte
        position = out.index(text.encode(), position) + len(text.encode())
    old = {key: value for key, value in orjson.loads(raw).items() if key not in new}
    assert orjson.loads(out) == old | new
    assert out.endswith(dump(new)[1:])


def test_bytes_out_are_utf8_without_escapes_or_spaces() -> None:
    assert dump({"text": "ไทย/é", "n": [1, 2.5, None, True]}) == '{"text":"ไทย/é","n":[1,2.5,null,true]}'.encode()


def test_a_record_may_turn_out_bad_after_it_was_read() -> None:
    record = Record(b"{}", {}, "a.jsonl", 7)
    with pytest.raises(BadRecord, match=r"a\.jsonl:7: no room \(cut it\)") as caught:
        Rejects().refuse(record, SeaError("no room", where="template", fix="cut it"), reason="too long")
    assert caught.value.reason == "too long"
    rejects = Rejects("skip")
    rejects.refuse(record, BadRecord("its own", "what"), reason="not this")
    assert rejects.counts == {"its own": 1}
