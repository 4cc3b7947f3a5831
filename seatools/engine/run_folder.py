"""The folder of a run, filled over time: begun, continued (--resume), or begun in the place of another (--force).

A run that replaces another gathers its first files in a hidden folder inside and clears the old run away only when
data and model have proved good (`start`), so that a mistake in them costs nothing that was there. Only a folder that
a run has begun is resumed, so that --resume never writes into somebody's model. While a run lasts it holds a lock on
the folder, so that a job that is queued again cannot write into one that has not ended.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from seatools.streams.errors import Preempted, SeaError, UsageError
from seatools.streams.manifest import manifest_path
from seatools.streams.outputs import refuse_ancestors, refuse_inputs_inside

METRICS, CHECKPOINTS = "metrics.jsonl", "checkpoints"
EVAL_KIND = "eval"  # of the metrics lines that are evaluations


class RunFolder:
    """`with RunFolder(out, ...) as folder:` write to `folder.path`; `folder.start()` when the steps begin.

    `begun_by`: names of files that a command writes before its first step, by which --resume knows its own; `cleared`:
    those of them that a run takes away again when an error, not a signal, ends it before it has left anything else.
    The constructor checks and writes nothing. Raises UsageError: OUT is a file, its parent is missing, it holds
    something (without `force` or `resume`), holds no run (`resume`), or one of `inputs` lies in it.
    """

    def __init__(
        self, out: Path, *, resume: bool, force: bool, inputs: Iterable[str | Path], begun_by: Iterable[str],
        cleared: Iterable[str] = (),
    ) -> None:  # fmt: skip
        self.out = self.path = out
        refuse_inputs_inside(out, inputs)
        if out.exists() and not out.is_dir():
            raise UsageError(f"{out} is a file", fix="name a folder")
        if not out.absolute().parent.is_dir():
            raise UsageError(f"{out.parent}: no such folder", fix=f"mkdir -p {out.parent}")
        # Hidden names are what a killed run of ours left; they are nobody's data.
        visible = {entry.name for entry in out.iterdir() if not entry.name.startswith(".")} if out.exists() else set()
        self._replaces = bool(visible) and force
        if self._replaces:
            refuse_ancestors(out)
        self._made, self._resumes = not out.exists(), resume
        self._cleared = () if visible else tuple(cleared)
        if visible and resume and not visible & {METRICS, CHECKPOINTS, *begun_by}:
            raise UsageError(f"{out} is not empty and holds no run to resume", fix="write to another folder")
        if visible and not resume and not force:
            raise UsageError(f"{out} exists and is not empty", fix="--resume continues it, --force starts it afresh")

    def __enter__(self) -> RunFolder:
        self.out.mkdir(exist_ok=True)
        self._lock = _locked(self.out)
        if self._replaces:
            self.path = self.out / f".new-{os.urandom(4).hex()}"
            self.path.mkdir()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._lock)
        if self.path != self.out:
            shutil.rmtree(self.path, ignore_errors=True)
        elif error is not None:
            with contextlib.suppress(OSError):
                self._clear(error)

    def _clear(self, error: BaseException) -> None:
        """Take away what would only have the next try refused."""
        mine = {name for name in self._cleared if (self.out / name).exists()}
        failed = isinstance(error, SeaError) and not isinstance(error, Preempted)
        if failed and mine == {entry.name for entry in self.out.iterdir() if not entry.name.startswith(".")}:
            for name in mine:
                (self.out / name).unlink()
        if self._made:
            self.out.rmdir()  # only if nothing came into it

    def start(self) -> None:
        """The run begins: what it replaces goes, with its manifest, and `path` is OUT from here on."""
        if not self._resumes:
            manifest_path(self.out).unlink(missing_ok=True)
        if self.path == self.out:
            return
        for entry in self.out.iterdir():
            if entry == self.path:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        for entry in self.path.iterdir():
            entry.replace(self.out / entry.name)
        self.path.rmdir()
        self.path = self.out


def _locked(folder: Path) -> int:
    """A descriptor of `folder` with a lock on it, as far as its file system has locks; they end with the process."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise UsageError(
            f"another run is writing to {folder}", fix="wait for its end, or name another folder"
        ) from None
    except OSError:
        pass  # NFS and others have none for folders
    return descriptor
