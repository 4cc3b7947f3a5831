"""Readers of the ground floor: records, compressed streams, lists of files, safetensors, sizes, configuration."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import safetensors
import zstandard
from fuzz.contract import check
from fuzz.layouts import files_of, header_input, tensor_file, write_folder

from seatools.streams import records as record_module
from seatools.streams.errors import SeaError
from seatools.streams.inputs import expand, open_input, parse_labelled
from seatools.streams.records import BadRecord, RecordReader, Rejects, with_keys
from seatools.streams.sizes import parse_bytes, parse_count
from seatools.streams.tensors import DTYPE_BITS, map_tensors, read_header, save_tensors
from seatools.streams.weight_headers import file_tensors

_CHECKS = [
    value for name, value in vars(record_module).items() if name.startswith("check_") and name != "check_messages"
]
_LONGEST = 4096


def read_records(data: bytes, folder: Path) -> None:
    """JSONL (or, after a first byte "t", plain lines): every record is its line's JSON, none is lost or made up."""
    plain, data = data[:1] == b"t", data[1:]
    path = folder / ("a.txt" if plain else "a.jsonl")
    path.write_bytes(data)
    kept = io.BytesIO()
    rejects = Rejects("quarantine", kept, str(folder / "q.jsonl"))
    reader = RecordReader(str(path), rejects=rejects, max_line_bytes=_LONGEST)
    records = list(reader)
    lines = [line for line in data.split(b"\n") if line.strip(b"\r")]
    check(len(records) + rejects.total <= len(lines), "more records than lines")
    check(kept.getvalue().count(b"\n") == rejects.total, "a rejected line is not in quarantine")
    for row in kept.getvalue().splitlines():
        orjson.loads(row)
    for record in records:
        check(orjson.loads(record.raw) == record.value, "a record's bytes are not its object")
        if not plain:
            _check_new_keys(record.raw, record.value)
            for rule in _CHECKS:
                with contextlib.suppress(BadRecord):
                    rule(record.value)
    with contextlib.suppress(BadRecord):
        again = list(RecordReader(str(path), max_line_bytes=_LONGEST))
        check(not rejects.total and again == records, "--on-error fail reads what skip rejects")


def _check_new_keys(raw: bytes, value: dict[str, Any]) -> None:
    gone = next(iter(value), "x")
    made = with_keys(raw, {"new\u0e01": [1]}, drop=[gone])
    expected = {key: item for key, item in value.items() if key not in (gone, "new\u0e01")} | {"new\u0e01": [1]}
    check(orjson.loads(made) == expected, "keys are not those that were asked for")
    check(with_keys(made, {"new\u0e01": [1]}) == made, "the same key twice is another line")


def read_compressed(data: bytes, folder: Path) -> None:
    """What gzip's and zstandard's own readers give, whole, or a refusal; `stdin` has no name to go by."""
    for name in ("a.jsonl", "a.jsonl.gz", "a.jsonl.zst"):
        path = folder / name
        path.write_bytes(data)
        got = None
        with contextlib.suppress(SeaError):
            got = _all_lines(path)
        if got is None:
            continue
        if data[:2] == b"\x1f\x8b":
            check(got == gzip.decompress(data), "not what gzip makes of it")
        elif data[:4] == b"\x28\xb5\x2f\xfd" or (data[1:4] == b"\x2a\x4d\x18" and 0x50 <= data[0] < 0x60):
            stream = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True)
            check(got == stream.read(), "not what zstandard makes of it")
        else:
            check(got == data and name == "a.jsonl", "a file that is not compressed was changed")


def _all_lines(path: Path) -> bytes:
    """Through `RecordReader`'s way of reading, which is where damage becomes an error of ours."""
    found = []
    for record in RecordReader(str(path), rejects=Rejects("skip")):
        found.append(record.raw)
    with open_input(str(path)) as stream:
        return stream.read()


def read_inputs(data: bytes, folder: Path) -> None:
    """Arguments, one a line, and lists of files: what they name is there, each once."""
    for name in ("a.jsonl", "b.txt", "c.jsonl.gz", "x=y.jsonl", "[a].txt"):
        (folder / name).write_bytes(b"")
    (folder / "sub").mkdir()
    (folder / "sub" / "d.jsonl").write_bytes(b"")
    inside = b"\n".join(line for line in data.split(b"\n") if b".." not in line and line.strip()[:1] != b"/")
    files = write_folder(inside, folder, ("list.txt", "more.txt"))  # not a walk through the whole disk
    arguments = files_of(data).get("arguments", data if not files else b"").decode("utf-8", "surrogateescape")
    for argument in ["@list.txt", "@more.txt", *arguments.split("\n")[:8]]:
        with contextlib.suppress(SeaError):
            parse_count(argument)
        with contextlib.suppress(SeaError):
            check(parse_bytes(argument) >= 1, "a size below one byte")
        here = os.getcwd()
        os.chdir(folder)
        try:
            _, spec = parse_labelled(argument)
            if spec.startswith("/") or ".." in spec:
                continue
            found = expand(spec)
            check(found and len(set(found)) == len(found), "nothing, or a file twice")
            check(all(path == "-" or os.path.exists(path) for path in found), "a file that is not there")
        except SeaError:
            pass
        finally:
            os.chdir(here)


def read_safetensors(data: bytes, folder: Path) -> None:
    """What safetensors' own reader reads, and the same arrays; whatever it refuses is refused."""
    path = folder / "a.safetensors"
    path.write_bytes(tensor_file(data))
    rows = tensors = None
    with contextlib.suppress(SeaError):
        rows = file_tensors(path)
    with contextlib.suppress(SeaError):
        tensors, metadata = map_tensors(path)
    if rows is None and tensors is None:
        raise SeaError("refused")
    header, _, _ = read_header(path)
    if any(entry["dtype"] not in DTYPE_BITS for entry in header.values()):
        return  # of a later format; such a tensor is only ever copied
    with safetensors.safe_open(path, framework="np") as theirs:  # raises: then ours was too lenient
        names = set(theirs.keys())
        if rows is not None:
            check({row.name for row in rows} == names, "other tensors than safetensors finds")
            for row in rows:
                check(list(row.shape) == theirs.get_slice(row.name).get_shape(), "another shape")
        if tensors is not None:
            check(tensors.keys() == names, "other tensors than safetensors finds")
            for name, array in tensors.items():
                check(array.tobytes() == theirs.get_tensor(name).tobytes(), "other values than safetensors reads")
            save_tensors(folder / "b.safetensors", tensors, metadata)
            again, kept = map_tensors(folder / "b.safetensors")
            check(kept == metadata and again.keys() == tensors.keys(), "not what was saved")
            for name, array in again.items():
                check(array.shape == tensors[name].shape and array.dtype == tensors[name].dtype, "not what was saved")
                check(np.array_equal(array.view(np.uint8).reshape(-1), tensors[name].view(np.uint8).reshape(-1))
                      if array.ndim else True, "not what was saved")  # fmt: skip


def read_config(data: bytes, folder: Path) -> None:
    """`--config FILE.toml` through the front door: a documented exit code, and never the line that admits a defect."""
    from seatools.cli import main

    (folder / "c.toml").write_bytes(data)
    (folder / "in.jsonl").write_bytes(b'{"text": "a"}\n')
    out, err = io.TextIOWrapper(io.BytesIO()), io.StringIO()
    out.fileno = lambda: (_ for _ in ()).throw(io.UnsupportedOperation())  # type: ignore[assignment]
    streams, sys.stdout, sys.stderr = (sys.stdout, sys.stderr), out, err
    try:
        code = main(["clean", str(folder / "in.jsonl"), "--config", str(folder / "c.toml"), "--dry-run"])
    finally:
        sys.stdout, sys.stderr = streams
    check(code in (0, 1, 2, 3), f"exit code {code}")
    check("error: unexpected" not in err.getvalue(), err.getvalue())
    if code:
        raise SeaError("refused")


_TWO = {"a": ("F32", [2, 3], 24), "b": ("I8", [5], 5)}
SEEDS: dict[str, list[bytes]] = {
    "records": [
        b'j{"text": "a", "lang": "th"}\n{"prompt": "p", "chosen": "c", "rejected": "r"}\n',
        b'j{"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}], "id": 1}\r\n\n[1]\n',
        b'j\xef\xbb\xbf{"a": {"b": [1, 2.5e3, null, true]}, "a": "\\u0e01\\n"}',
        b'j{"prompt": [{"role": "user", "content": "x"}], "responses": ["a"]}\n{"prompt": "a", "completion": ""}\n',
        b"tplain\nsecond line\n\n\xff\n", b'j{"text": "' + b"a" * 5000 + b'"}\n{"text": ""}\n',
    ],
    "compressed": [
        gzip.compress(b'{"text": "a"}\n', mtime=0), gzip.compress(b"a", mtime=0) + gzip.compress(b"b\n", mtime=0),
        zstandard.compress(b'{"text": "a"}\n' * 9), zstandard.compress(b"a") + zstandard.compress(b"b\n"),
        b"\x50\x2a\x4d\x18\x02\0\0\0xx" + zstandard.compress(b"a"), b'{"text": "a"}\n',
        b"\x1f\x8b", b"\x28\xb5\x2f\xfd",
        zstandard.ZstdCompressor(write_checksum=True, level=19).compress(b"ab" * 5000),
        gzip.compress(bytes(100_000), mtime=0),
    ],
    "inputs": [
        b"\n#### list.txt\na.jsonl\n# note\n\n*.txt\n\n#### arguments\nth=a.jsonl\nsub\n*.gz\n-\n1.5M\n4GiB",
        b"\n#### list.txt\n@list.txt\n#### arguments\n**/*.jsonl\n[a-c].*\nx=y.jsonl\nth=\n10_000\n256MB",
        b"a.jsonl\nnothing.jsonl\n\xff.txt\n@missing",
    ],
    "safetensors": [
        header_input(_TWO, {"format": "pt"}), header_input({"s": ("F64", [], 8), "e": ("U8", [0, 3], 0)}),
        header_input({"h": ("BF16", [2, 2], 8), "t": ("BOOL", [3], 3), "u": ("U64", [1], 8)}),
        b"RAW\x08\0\0\0\0\0\0\0{}      ", b"RAW\xff\xff\xff\xff\xff\xff\xff\xff{}",
    ],
    "config": [
        b'on-error = "skip"\nlimit = 3\n[clean]\nquiet = true\nverbose = 2\n[mix]\nunit = "docs"\n',
        b'quality = "default"\ndedup = "exact"\nmin-chars = 3\n', b"seed = 1\nworkers = 2\n[clean.x]\ny = 1\n",
    ],
}  # fmt: skip
