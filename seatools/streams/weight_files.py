"""The weight files of OUT, two at a time: rewritten, copied, cloned or linked, and hashed on their way.

The manifest wants the digest of every file in MODEL and in OUT. Read again for it, 4 GB take 3.9 s each (measured);
here a block is hashed by a second thread while it is written, a copy's digest is its source's, and what --link neither
reads nor writes has none. Where the file system can share blocks (btrfs, xfs), a copy is a clone. Memory: four blocks.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from seatools.streams.errors import SeaError
from seatools.streams.free_space import check_space
from seatools.streams.shard_rewrite import Block, TensorEdit, file_blocks, shard_bytes
from seatools.streams.weight_headers import Tensor

_FILES_AT_ONCE = 2
_FICLONE = 0x40049409  # ioctl of linux/fs.h


@dataclass(frozen=True)
class Digests:
    """sha256 of a weight file in MODEL and in OUT; None for both if it was linked and not read."""

    source: str | None
    made: str | None


def write_weights(
    model: Path,
    out: Path,
    rewritten: Mapping[str, list[Tensor]],
    kept: Sequence[str],
    edits: Mapping[str, TensorEdit],
    *,
    link: bool,
) -> dict[str, Digests]:
    """Write the weight files of `model` into the folder `out`, where none of them is; their digests by name.

    `rewritten`: files with the tensors in them, by position, some of which `edits` replaces; `kept` are copied, or with
    `link` hard-linked. Errors: `SeaError` for a full disk and all else that the system refuses, naming the file.
    """
    cloned = {name for name in kept if clone(model / name, out / name)}
    copied = [] if link else [name for name in kept if name not in cloned]
    _check_space(out, rewritten, edits, [model / name for name in copied])
    for name in kept:
        if link and name not in cloned:
            _link(model / name, out / name)
    stop = Event()
    with ThreadPoolExecutor(2 * _FILES_AT_ONCE) as hashing, ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
        work = _Work(stop, hashing)
        tasks: dict[tuple[str, str], Future[str]] = {}
        for name, tensors in rewritten.items():  # first, as they are the longest
            tasks[name, "made"] = pool.submit(work.write, out / name, shard_bytes(model / name, tensors, edits))
            tasks[name, "source"] = pool.submit(work.digest, model / name)
        for name in [] if link else kept:
            if name in cloned:
                tasks[name, "made"] = pool.submit(work.digest, model / name)
            else:
                tasks[name, "made"] = pool.submit(work.write, out / name, _blocks(model / name))
        try:
            done, _ = wait(tasks.values(), return_when=FIRST_EXCEPTION)
            for task in done:
                task.result()
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    found = {key: task.result() for key, task in tasks.items()}
    digests = {name: Digests(found[name, "source"], found[name, "made"]) for name in rewritten}
    for name in kept:
        digests[name] = Digests(None, None) if link else Digests(found[name, "made"], found[name, "made"])
    return digests


@dataclass(frozen=True)
class _Work:
    """What the threads do. Each task ends soon after `stop` is set, with an error that nobody sees."""

    stop: Event
    hashing: ThreadPoolExecutor

    def write(self, target: Path, blocks: Iterator[Block]) -> str:
        with _naming(target), target.open("xb") as writer:
            digest = self._each(blocks, writer.write)
            writer.flush()
            os.fsync(writer.fileno())  # it must be done before the folder gets its name, and here others go on
            return digest

    def digest(self, source: Path) -> str:
        return self._each(_blocks(source), lambda _: None)

    def _each(self, blocks: Iterator[Block], use: Callable[[Block], object]) -> str:
        """`use` every block; meanwhile another thread adds it to the digest, which is returned."""
        sha = hashlib.sha256()
        pending: Future[None] | None = None
        for block in blocks:
            if self.stop.is_set():
                raise InterruptedError
            if pending is not None:
                pending.result()
            pending = self.hashing.submit(sha.update, block)
            use(block)
        if pending is not None:
            pending.result()
        return sha.hexdigest()


def clone(source: Path, target: Path) -> bool:
    """Make `target` share the blocks of `source`, if the file system can; it is a copy in all other respects."""
    try:
        import fcntl
    except ImportError:  # not on Windows
        return False
    with source.open("rb") as reader, target.open("xb") as writer:
        try:
            fcntl.ioctl(writer.fileno(), _FICLONE, reader.fileno())
        except OSError:
            target.unlink()
            return False
    return True


def _link(source: Path, target: Path) -> None:
    try:
        os.link(os.path.realpath(source), target)
    except OSError as error:
        raise SeaError(f"{source} cannot be hard-linked: {error.strerror}", fix="leave out --link") from error


def _blocks(path: Path) -> Iterator[Block]:
    return file_blocks(path, 0, path.stat().st_size)


def _check_space(
    out: Path, rewritten: Mapping[str, list[Tensor]], edits: Mapping[str, TensorEdit], copied: list[Path]
) -> None:
    """A disk that is too small is told before the first of 100 GB, not after the last that fitted."""
    needed = sum(path.stat().st_size for path in copied)
    needed += sum(edits.get(tensor.name, tensor).num_bytes for tensors in rewritten.values() for tensor in tensors)
    fix = "write to another disk" + (", or --link what does not change" if copied else "")
    check_space(out, needed, "the weights of OUT", fix=fix)


@contextlib.contextmanager
def _naming(target: Path) -> Iterator[None]:
    """Errors of writing name the file by its last name: the folder is temporary."""
    try:
        yield
    except OSError as error:
        if isinstance(error, InterruptedError) or error.strerror is None:
            raise
        fix = "free some space, or write to another disk"
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        raise SeaError(f"{target.name} cannot be written: {error.strerror}", fix=fix if full else None) from error
