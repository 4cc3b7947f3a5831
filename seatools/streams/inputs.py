"""Which files a command reads: paths, globs, folders, `@list.txt`, `-`, and the `th=GLOB` labels.

Names come out sorted, so that the order in which a file system lists them changes nothing. Bytes come out
decompressed: by magic number for stdin, by magic number and extension for files (one that says .gz but is not is
an error, not text).
"""

from __future__ import annotations

import glob
import io
import os
import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, BinaryIO

from seatools.streams.errors import SeaError, UsageError
from seatools.streams.zstd_stream import MAGIC, ZstdStream

TEXT_SUFFIXES = (".jsonl", ".ndjson", ".json", ".txt")
# Ours, beside the data: manifests and quarantined lines are no input.
_SIDECARS = (".manifest.json", ".quarantine.jsonl")
_GZIP = b"\x1f\x8b"
SPOOL_PREFIX = ".sea-stdin-"
_LABEL = re.compile(r"([A-Za-z][A-Za-z0-9_.-]*)=(.*)", re.DOTALL)
_TWICE = re.compile(r"(?:\*\*/+){2,}")
BUFFER = 1 << 20


def bare_suffix(path: str) -> str:
    """The extension under a compression: "a.jsonl.zst" -> ".jsonl"."""
    name = os.path.basename(path).lower()
    for packed in (".gz", ".zst"):
        name = name.removesuffix(packed)
    return os.path.splitext(name)[1]


def parse_labelled(argument: str) -> tuple[str | None, str]:
    """Split "th=GLOB" into ("th", "GLOB"); an argument without a label gives (None, argument)."""
    match = _LABEL.fullmatch(argument)
    if match is None or os.path.exists(argument):
        return None, argument
    if not match[2]:
        raise UsageError(f'nothing stands after "{match[1]}="', fix=f"{match[1]}=FILE")
    return match[1], match[2]


def reads_stdin(arguments: Sequence[str]) -> bool:
    """Whether one of them is `-`, labelled or not."""
    return any(parse_labelled(argument)[1] == "-" for argument in arguments)


def expand(specs: str | Sequence[str]) -> list[str]:
    """The files that the specs name, sorted within each spec; each spec must name at least one."""
    paths: list[str] = []
    for spec in [specs] if isinstance(specs, str) else specs:
        paths.extend(_expand_one(spec))
    refuse_repeats(paths)
    return paths


def refuse_repeats(paths: Sequence[str]) -> None:
    """UsageError for an input that is named twice: its records would count twice, and stdin is read only once."""
    path, times = Counter(paths).most_common(1)[0] if paths else ("", 0)
    if times > 1:
        raise UsageError(f"{shown(path)} is named twice", fix="name each input once")


def shown(path: str) -> str:
    """A path for messages: stdin by its name also after it was spooled, bytes that are not UTF-8 escaped."""
    if path == "-" or os.path.basename(path).startswith(SPOOL_PREFIX):
        return "stdin"
    return path.encode("utf-8", "backslashreplace").decode("utf-8")


def shown_together(paths: Sequence[str]) -> str:
    """Several paths for messages: the first three by name."""
    return ", ".join(map(shown, paths[:3])) + (", ..." if len(paths) > 3 else "")


def _expand_one(spec: str) -> list[str]:
    if spec == "-":
        return ["-"]
    if "\0" in spec:
        raise SeaError(f"{ascii(spec[:60])} is no path: it holds a NUL character")
    spec = _TWICE.sub("**/", spec)  # each further one would walk the whole tree again below every folder of it
    if spec.startswith("@"):
        return _listed(spec[1:])
    if os.path.isdir(spec):
        try:
            found = sorted(str(path) for path in Path(spec).rglob("*") if bare_suffix(path.name) in TEXT_SUFFIXES)
        except OSError as error:  # a folder that goes away meanwhile
            raise SeaError(f"{error.strerror}: {error.filename}", where=spec) from error
        found = [path for path in found if os.path.isfile(path) and not path.endswith(_SIDECARS)]
        if not found:
            raise SeaError(f"{spec}: no text files in this folder", fix=f"looked for {', '.join(TEXT_SUFFIXES)}")
        return found
    if os.path.exists(spec):
        return [spec]
    if glob.has_magic(spec):
        found = sorted(path for path in glob.glob(spec, recursive=True) if not os.path.isdir(path))
        if not found:
            raise SeaError(f'no file matches "{spec}"', fix="check the pattern; quote it so that the shell leaves it")
        return found
    raise SeaError(f"{spec}: no such file", fix=_nearest(spec))


def _listed(list_path: str) -> list[str]:
    try:
        lines = Path(list_path).read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise SeaError(f"{list_path}: {error.strerror}", fix="@FILE names a list of paths, one a line") from error
    except UnicodeDecodeError as error:
        raise SeaError(f"{list_path}: not UTF-8", fix="@FILE names a list of paths, one a line") from error
    paths: list[str] = []
    for number, line in enumerate(lines, 1):
        name = line.strip()
        if not name or name.startswith("#"):
            continue
        if name.startswith("@"):
            raise SeaError("a list may not name another list", where=f"{list_path}:{number}")
        try:
            paths.extend(_expand_one(name))
        except SeaError as error:
            raise SeaError(error.what, where=f"{list_path}:{number}", fix=error.fix) from error
    if not paths:
        raise SeaError(f"{list_path}: the list names no file")
    return paths


def _nearest(path: str) -> str | None:
    import difflib

    folder, name = os.path.split(path)
    try:
        close = difflib.get_close_matches(name, os.listdir(folder or "."), n=1, cutoff=0.6)
    except OSError:
        return None
    return f"did you mean {os.path.join(folder, close[0])}?" if close else None


def open_input(path: str) -> IO[bytes]:
    """Open a file or stdin (`-`) for reading bytes, decompressed. The caller closes it."""
    raw = _standard_input() if path == "-" else open(path, "rb", buffering=BUFFER)  # noqa: SIM115
    head = raw.peek(4)[:4] if isinstance(raw, io.BufferedReader) else b""
    if 0 < len(head) < 4 and _begins_magic(head):  # a pipe that gave a byte or two so far
        raw = io.BufferedReader(_Again(raw.read(4), raw), BUFFER)
        head = raw.peek(4)[:4]
    if head.startswith(_GZIP):
        import gzip

        stream = gzip.GzipFile(fileobj=raw, mode="rb")
        stream.myfileobj = raw  # type: ignore[assignment]  # so that closing the stream closes the file
        return stream  # type: ignore[return-value]
    if MAGIC.match(head):
        return io.BufferedReader(ZstdStream(raw), BUFFER)
    extension = os.path.splitext(path)[1].lower()
    if extension in (".gz", ".zst"):
        raw.close()
        what = f"named {extension} but " + ("its first bytes are not" if head else "empty")
        raise SeaError(f"{shown(path)}: {what}", fix="rename it, or compress it again")
    return raw


def _begins_magic(head: bytes) -> bool:
    """Whether this may become the magic number of a compressed stream with more bytes."""
    return (
        _GZIP.startswith(head) or b"\x28\xb5\x2f\xfd".startswith(head) or head[1:] == b"\x2a\x4d\x18"[: len(head) - 1]
    )


class _Again(io.RawIOBase):
    """A stream whose first bytes were read already."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self._head, self._rest = head, rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        data = self._head or self._rest.read1(len(view))  # type: ignore[attr-defined]
        view[: len(data)] = data
        self._head = b""
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._rest.close()
        super().close()


def _standard_input() -> BinaryIO:
    if sys.stdin is None or sys.stdin.closed:
        raise UsageError("stdin is closed", fix="name a file, or pipe records in")
    if sys.stdin.isatty():
        raise UsageError("stdin is a terminal", fix="name a file, or pipe records in")
    buffer = sys.stdin.buffer
    return buffer if isinstance(buffer, io.BufferedReader) else io.BufferedReader(buffer)  # type: ignore


def is_decompression_error(error: Exception) -> bool:
    """Whether reading failed because a compressed stream is broken."""
    import zlib

    return isinstance(error, (EOFError, zlib.error)) or type(error).__name__ in ("ZstdError", "BadGzipFile")


def broken_stream(error: Exception, where: str) -> SeaError:
    """What to raise instead of a decompression error: cut off, or damaged."""
    return SeaError(f"the compressed stream is broken: {error}", where=where, fix="fetch or make it again")


def same_file(first: str | Path, second: str | Path) -> bool:
    """Whether two paths are the same existing file, through links too."""
    try:
        return os.path.samefile(first, second)
    except OSError:
        return os.path.abspath(first) == os.path.abspath(second)
