"""What every reader promises for any bytes at all: a value, or one of sea's own errors, soon, in bounded memory.

`outcome` runs one reader on one input and tells which of these it was; anything else is a `Violation`, named after the
line of ours that let it through, so that one defect is told once. Time is processor time (a busy machine makes no
finding), memory is what the process may map beyond what it had (RLIMIT_DATA; only where `limited` is in force).
"""

from __future__ import annotations

import contextlib
import resource
import shutil
import signal
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from seatools.streams.errors import SeaError

SECONDS, MEMORY_BYTES = 5.0, 1 << 30
Reader = Callable[[bytes, Path], None]
"""Reads `data` as its kind of file, in an empty folder of its own. Raises `Wrong` for a result that is not true."""


class Wrong(Exception):
    """A reader returned something that the input does not say."""


class _Hang(BaseException):
    """Past the time limit. No `Exception`, so that no reader takes it for a fault of its file."""


class Violation(Exception):
    """The contract is broken; `key` is the same for the same defect."""

    def __init__(self, kind: str, error: BaseException) -> None:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/seatools/" in frame.filename]
        place = f"{Path(frames[-1].filename).name}:{frames[-1].name}" if frames else "reader"
        self.key = f"{kind}-{type(error).__name__}-{place}"
        """Kind, class, file and function."""
        super().__init__(f"{self.key}: {error}"[:400])


def check(truth: object, what: str) -> None:
    """`Wrong` with `what` unless `truth`."""
    if not truth:
        raise Wrong(what)


@contextlib.contextmanager
def limited(extra_bytes: int = MEMORY_BYTES) -> Iterator[None]:
    """The process may map `extra_bytes` more than it has; beyond that allocation fails with MemoryError."""
    sizes = Path("/proc/self/status").read_text().split("VmData:")[1].split()[0]
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (int(sizes) * 1024 + extra_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


@contextlib.contextmanager
def _timed(seconds: float) -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise _Hang(f"more than {seconds} s of processor time")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def outcome(reader: Reader, data: bytes, folder: Path, *, seconds: float = SECONDS) -> str:
    """ "read" or "refused"; raises Violation. `folder` is emptied first."""
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    try:
        with _timed(seconds):
            reader(data, folder)
        return "read"
    except SeaError as error:
        if len(error.report().splitlines()) > 3:
            raise Violation("long", error) from error
        return "refused"
    except _Hang as error:
        raise Violation("hang", error) from error
    except Wrong as error:
        raise Violation("wrong", error) from error
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic of Rust is no Exception
        raise Violation("leaked", error) from error


@contextlib.contextmanager
def workplace() -> Iterator[Path]:
    """An empty folder, in memory where there is /dev/shm."""
    shared = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="sea-fuzz-", dir=shared if shared.is_dir() else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
