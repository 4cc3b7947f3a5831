"""Which files a command reads: globs, folders, lists, labels; and their bytes, decompressed."""

from __future__ import annotations

import gzip
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from seatools.streams.errors import SeaError, UsageError
from seatools.streams.inputs import bare_suffix, expand, is_decompression_error, open_input, parse_labelled, shown


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"{}\n")


def test_names_come_out_sorted_within_each_spec() -> None:
    touch("b.jsonl", "a.jsonl", "c.txt", "0.jsonl")
    assert expand(["c.txt", "[ab].jsonl", "0.jsonl"]) == ["c.txt", "a.jsonl", "b.jsonl", "0.jsonl"]


def test_a_single_spec_may_be_a_string() -> None:
    touch("a.jsonl")
    assert expand("a.jsonl") == ["a.jsonl"]


def test_a_folder_gives_its_text_files_at_any_depth_and_nothing_of_ours() -> None:
    touch("d/b.jsonl.zst", "d/sub/a.txt.gz", "d/model.safetensors", "d/b.jsonl.manifest.json", "d/.b.jsonl.1f.tmp")
    touch("d/b.quarantine.jsonl")
    assert expand("d") == ["d/b.jsonl.zst", "d/sub/a.txt.gz"]


def test_a_double_star_goes_down() -> None:
    touch("d/a.jsonl", "d/x/y/b.jsonl")
    assert expand("d/**/*.jsonl") == ["d/a.jsonl", "d/x/y/b.jsonl"]


def test_a_name_with_pattern_characters_is_itself_when_it_exists() -> None:
    touch("a[1].jsonl", "a1.jsonl")
    assert expand("a[1].jsonl") == ["a[1].jsonl"]


def test_a_dash_is_stdin() -> None:
    assert expand(["-"]) == ["-"]


def test_a_list_names_files_and_patterns_with_comments_and_blank_lines() -> None:
    touch("a.jsonl", "b1.jsonl", "b2.jsonl")
    Path("list.txt").write_bytes(b"\xef\xbb\xbfa.jsonl\r\n\n# more\nb*.jsonl\n")
    assert expand("@list.txt") == ["a.jsonl", "b1.jsonl", "b2.jsonl"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a.jsonl\nnone.jsonl\n", "list.txt:2: none.jsonl: no such file"),
        (b"@other\n", "list.txt:1: a list may not name another list"),
        (b"# nothing\n", "list.txt: the list names no file"),
        (b"\xff\n", "list.txt: not UTF-8"),
    ],
)
def test_a_bad_list_is_named_by_line(content: bytes, message: str) -> None:
    touch("a.jsonl")
    Path("list.txt").write_bytes(content)
    with pytest.raises(SeaError) as caught:
        expand("@list.txt")
    assert message in str(caught.value)


def test_a_missing_list_is_an_error() -> None:
    with pytest.raises(SeaError, match=r"none\.txt: No such file"):
        expand("@none.txt")


def test_a_wrong_name_brings_the_nearest_one() -> None:
    touch("thai.jsonl")
    with pytest.raises(SeaError) as caught:
        expand("thia.jsonl")
    assert caught.value.report() == "error: thia.jsonl: no such file\n  fix: did you mean thai.jsonl?"


def test_a_pattern_or_folder_that_matches_nothing_is_an_error() -> None:
    Path("empty").mkdir()
    with pytest.raises(SeaError, match=r'no file matches "x\*\.jsonl"'):
        expand("x*.jsonl")
    with pytest.raises(SeaError, match="empty: no text files"):
        expand("empty")


def test_an_input_named_twice_is_refused_also_among_very_many() -> None:
    touch("a.jsonl")
    with pytest.raises(UsageError, match=r"a\.jsonl is named twice"):
        expand(["a.jsonl", "*.jsonl"])
    with pytest.raises(UsageError, match="stdin is named twice"):
        expand(["-"] * 30_000)


def test_labels() -> None:
    touch("x=y.jsonl")
    assert parse_labelled("th=a/*.jsonl") == ("th", "a/*.jsonl")
    assert parse_labelled("zh-Hant=-") == ("zh-Hant", "-")
    assert parse_labelled("a.jsonl") == (None, "a.jsonl")
    assert parse_labelled("./d=1/a.jsonl") == (None, "./d=1/a.jsonl")
    assert parse_labelled("x=y.jsonl") == (None, "x=y.jsonl")  # a file of that name is there
    with pytest.raises(UsageError, match='nothing stands after "th="'):
        parse_labelled("th=")


@pytest.mark.parametrize(
    ("name", "suffix"), [("a.jsonl.zst", ".jsonl"), ("A.TXT.GZ", ".txt"), ("d.x/a", ""), ("a.json", ".json")]
)
def test_the_extension_under_a_compression(name: str, suffix: str) -> None:
    assert bare_suffix(name) == suffix


def test_paths_in_messages() -> None:
    assert shown("-") == "stdin"
    assert shown("/tmp/.sea-stdin-ab12.jsonl") == "stdin"
    assert shown("ไทย.jsonl") == "ไทย.jsonl"
    assert shown(os.fsdecode(b"a\xff.jsonl")) == "a\\udcff.jsonl"


def zst(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


SKIPPABLE = b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd"
PACKED = {
    "plain": lambda a, b: a + b,
    "gzip": lambda a, b: gzip.compress(a + b),
    "two gzip members": lambda a, b: gzip.compress(a) + gzip.compress(b),
    "zstd": lambda a, b: zst(a + b),
    "two zstd frames": lambda a, b: zst(a) + zst(b),
    "zstd with skippable frames (pzstd)": lambda a, b: SKIPPABLE + zst(a) + SKIPPABLE + zst(b) + SKIPPABLE,
}


@pytest.mark.parametrize("pack", PACKED.values(), ids=PACKED.keys())
def test_compression_is_seen_by_magic_bytes(pack: Callable[[bytes, bytes], bytes]) -> None:
    first, second = b'{"n":1}\n' * 5000, os.urandom(300_000)
    Path("data").write_bytes(pack(first, second))
    with open_input("data") as stream:
        assert stream.read() == first + second


@pytest.mark.parametrize("name", ["gzip", "zstd", "two zstd frames"])
def test_stdin_is_decompressed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(PACKED[name](b"one\n", b"two\n"))))
    with open_input("-") as stream:
        assert stream.read() == b"one\ntwo\n"


@pytest.mark.parametrize("name", ["plain", "gzip", "zstd"])
def test_closing_the_stream_closes_the_file(name: str) -> None:
    Path("data").write_bytes(PACKED[name](b"one\n", b"two\n"))
    before = len(os.listdir("/dev/fd"))
    stream = open_input("data")
    assert len(os.listdir("/dev/fd")) == before + 1
    stream.close()
    assert len(os.listdir("/dev/fd")) == before


def test_zstandard_itself_ends_quietly_on_a_truncated_frame() -> None:
    """Why zstd_stream.py exists; when this fails, that file may go."""
    whole = zst(os.urandom(300_000))
    reader = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(whole[:-10]), read_across_frames=True)
    assert len(reader.read()) < 300_000


@pytest.mark.parametrize(("extension", "pack"), [(".gz", gzip.compress), (".zst", zst)])
def test_every_cut_of_a_compressed_file_is_noticed(extension: str, pack: Callable[[bytes], bytes]) -> None:
    """Except between two members or frames, where what is left is whole by itself."""
    first, second = pack(b"one\n" * 3), pack(b"two\n" * 3)
    unnoticed = []
    for length in range(len(first + second)):
        Path(f"cut{extension}").write_bytes((first + second)[:length])
        try:
            with open_input(f"cut{extension}") as stream:
                stream.read()
        except Exception as error:
            assert isinstance(error, SeaError) or is_decompression_error(error)
        else:
            unnoticed.append(length)
    assert unnoticed == [len(first)]


@pytest.mark.parametrize("name", ["a.gz", "a.jsonl.zst", "A.GZ"])
@pytest.mark.parametrize(("content", "what"), [(b"{}\n", "its first bytes are not"), (b"", "empty")])
def test_a_name_that_promises_compression_must_keep_it(name: str, content: bytes, what: str) -> None:
    Path(name).write_bytes(content)
    with pytest.raises(SeaError, match=what):
        open_input(name)


def test_a_terminal_and_a_closed_stdin_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "stdin", stream)
    with pytest.raises(UsageError, match="stdin is a terminal"):
        open_input("-")
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UsageError, match="stdin is closed"):
        open_input("-")
