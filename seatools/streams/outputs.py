"""Where results go: stdout, or a file or folder that appears whole or not at all.

A file is written to a temporary sibling, flushed, fsynced and renamed; whatever goes wrong before that leaves what
was there untouched and no debris. An existing output is refused without `--force`, an output that is also an input
is refused always, and binary data is never sent to a terminal. gzip output carries no time, so bytes repeat.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from seatools.streams.digests import MODEL_FILES
from seatools.streams.errors import UsageError
from seatools.streams.inputs import bare_suffix, same_file


def check_output(path: str | Path | None, *, force: bool = False, inputs: Iterable[str | Path] = ()) -> None:
    """Refuse an output before any work is done: it exists, it is an input, or its folder is missing.

    Among `inputs` a folder stands for the files of the model or tokenizer in it.
    """
    if path is None or str(path) == "-":
        return
    target = Path(path)
    for source in inputs:
        if str(source) == "-":
            continue
        parts = (file for pattern in MODEL_FILES for file in Path(source).glob(pattern))
        if any(same_file(target, file) for file in (source, *parts)):
            raise UsageError(f"{target} is both input and output", fix="write to another path")
    if is_special(target):
        return
    if target.exists() and not force:
        raise UsageError(f"{target} exists", fix="--force replaces it")
    parent = target.absolute().parent
    if not parent.is_dir():
        raise UsageError(f"{parent}: no such folder", fix=f"mkdir -p {parent}")
    manifest = Path(f"{target}.manifest.json")
    if manifest.is_dir():  # found out after the output, it would leave that without one
        raise UsageError(f"{manifest} is a folder, and the output's manifest goes there", fix="move it away")


def refuse_misnamed(path: str | Path | None) -> None:
    """Records are JSONL: in a file that is named .txt they would be read back as one document a line, braces and all.
    Raises UsageError."""
    if path is not None and (suffix := bare_suffix(str(path))) in (".txt", ".csv", ".safetensors"):
        raise UsageError(f"{path}: records are JSONL, and {suffix} is read as something else", fix="name it .jsonl")


def is_special(path: Path) -> bool:
    """A pipe, a device: written to directly, never replaced."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


@contextlib.contextmanager
def open_output(
    path: str | Path | None, *, force: bool = False, inputs: Iterable[str | Path] = (), binary: bool = False
) -> Iterator[IO[bytes]]:
    """A stream of bytes to `path` (None or "-": stdout). Compressed by extension (.gz, .zst)."""
    check_output(path, force=force, inputs=inputs)
    if path is None or str(path) == "-":
        if binary:
            _refuse_terminal(sys.stdout)
        sys.stdout.flush()
        with _standard_output() as stream:
            yield stream
        return
    target = Path(path)
    if is_special(target):
        with open(target, "wb") as raw:
            if binary:
                _refuse_terminal(raw)
            with _compressor(raw, target.name) as stream:
                yield stream
        return
    if target.is_dir():
        raise UsageError(f"{target} is a folder", fix="name a file")
    final = Path(os.path.realpath(target))  # a link stays a link
    temporary = _sibling(final, "tmp")
    try:
        with open(temporary, "xb") as raw:
            with _compressor(raw, target.name) as stream:
                yield stream
            raw.flush()
            os.fsync(raw.fileno())
        os.replace(temporary, final)
        sync_folder(final.parent)
    except OSError as error:
        if error.filename == str(temporary) or (error.filename is None and error.errno in _DISK_FULL):
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _standard_output() -> Iterator[IO[bytes]]:
    """Standard output with a buffer of its own, since PYTHONUNBUFFERED makes Python's one write of a call each."""
    try:
        descriptor = sys.stdout.fileno()
    except OSError:  # a stand-in for stdout that is no file
        yield sys.stdout.buffer
        return
    with open(descriptor, "wb", buffering=1 << 16, closefd=False) as stream:
        yield stream


_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _sibling(path: Path, ending: str) -> Path:
    """A hidden name beside `path`, random, since process ids repeat in containers that share a folder."""
    return path.with_name(f".{path.name}.{os.urandom(4).hex()}.{ending}")


def _refuse_terminal(stream: IO[Any]) -> None:
    if stream.isatty():
        raise UsageError("binary data to a terminal", fix="-o FILE, or pipe it on")


@contextlib.contextmanager
def _compressor(raw: IO[bytes], name: str) -> Iterator[IO[bytes]]:
    name = name.lower()
    if name.endswith(".gz"):
        import gzip

        with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=6) as stream:
            yield stream  # type: ignore[misc]
    elif name.endswith(".zst"):
        import zstandard

        with zstandard.ZstdCompressor(level=3, write_checksum=True).stream_writer(raw, closefd=False) as stream:
            yield stream
    else:
        yield raw


@contextlib.contextmanager
def output_folder(path: str | Path, *, force: bool = False, inputs: Iterable[str | Path] = ()) -> Iterator[Path]:
    """A temporary sibling folder that becomes `path` on success; an old `path` goes only then."""
    if str(path) == "-":
        raise UsageError("a folder cannot go to stdout", fix="-o FOLDER")
    inputs = list(inputs)
    check_output(path, force=force, inputs=inputs)
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_dir():
        raise UsageError(f"{path} is a file", fix="name a folder")
    refuse_inputs_inside(Path(path), inputs)
    if target.exists():
        refuse_ancestors(path)
    temporary, retired = _sibling(target, "tmp"), _sibling(target, "old")
    try:
        temporary.mkdir()
        yield temporary
        for entry in (*temporary.rglob("*"), temporary):
            if entry.is_dir():
                sync_folder(entry)
            elif entry.is_file():
                sync_file(entry)
        if target.exists():
            os.replace(target, retired)
        os.replace(temporary, target)
        sync_folder(target.parent)
    except OSError as error:
        if error.filename == str(temporary):
            error.filename = str(path)
        raise
    finally:
        if retired.exists() and not target.exists():  # stopped between the two renames
            os.replace(retired, target)
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(retired, ignore_errors=True)


def refuse_inputs_inside(folder: Path, inputs: Iterable[str | Path]) -> None:
    """An input under a folder that is about to be replaced, or that folder itself, would be lost."""
    target = Path(os.path.realpath(folder))
    for source in inputs:
        if str(source) == "-":
            continue
        place = Path(os.path.realpath(source))
        if place == target:
            raise UsageError(f"{folder} is both input and output", fix="write to another folder")
        if place.is_relative_to(target):
            raise UsageError(f"input {source} lies inside {folder}", fix="write to another folder")


def refuse_ancestors(folder: str | Path) -> None:
    """A folder to be replaced is neither the working or home folder nor above one: `-o . --force` is a slip."""
    for name, place in (("working", "."), ("home", os.path.expanduser("~"))):
        if Path(os.path.realpath(place)).is_relative_to(os.path.realpath(folder)):
            raise UsageError(f"{folder} is or holds the {name} folder, and is not replaced", fix="name another folder")


def sync_file(path: Path) -> None:
    """fsync one file."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """fsync a folder, so that a rename in it survives a crash; file systems that cannot are left alone."""
    with contextlib.suppress(OSError):
        sync_file(path)


def write_atomic(path: Path, data: bytes) -> None:
    """Replace one small file of ours (metrics summary, state) as a whole."""
    with open_output(path, force=True) as stream:
        stream.write(data)
