"""The command line in processes of its own, quickly; disks that are too small, or cannot be written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from faults.jobs import make_inputs


@dataclass(frozen=True)
class Ended:
    """How a process ended."""

    code: int
    stdout: bytes
    stderr: str

    def is_told(self) -> bool:
        """One error line, perhaps a fix below it; no traceback, no admission of a defect."""
        lines = [line for line in self.stderr.splitlines() if line.startswith("error: ")]
        return len(lines) == 1 and "Traceback" not in self.stderr and "unexpected" not in self.stderr


class Server:
    """`run(*argv)` in a child of the fork server; `kill_after`: seconds after which it gets SIGKILL."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        here = Path(__file__).resolve()
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(here.parents[2])}
        self._process = subprocess.Popen(
            [sys.executable, str(here.with_name("fork_server.py"))], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, env=environment,
        )  # fmt: skip
        self._known: set[str] = set()
        self._read("ready")

    def _read(self, key: str) -> int:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())[key]

    def run(
        self, *argv: object, stdin: str | None = None, stdout: str | None = None, cwd: Path | None = None,
        kill_after: float | None = None, meanwhile: Callable[[], None] = lambda: None,
    ) -> Ended:  # fmt: skip
        out, err = self.folder / "stdout", self.folder / "stderr"
        job = {"argv": list(map(str, argv)), "stdin": stdin, "stdout": stdout or str(out), "stderr": str(err),
               "cwd": str(cwd or self.folder), "modules": str(self.folder / "modules")}  # fmt: skip
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        pid = self._read("pid")
        timer = threading.Timer(60 if kill_after is None else kill_after, os.killpg, (pid, signal.SIGKILL))
        timer.start()
        meanwhile()
        code = self._read("code")
        if code == 0:
            self._learn()
        timer.cancel()
        timer.join()
        return Ended(code, b"" if stdout else out.read_bytes(), err.read_text("utf-8", "replace"))

    def _learn(self) -> None:
        """Import in the server what a child imported, so that the next one has it."""
        names = {name for name in (self.folder / "modules").read_text().split("\n")} - self._known
        self._known |= names
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"import": sorted(names - {"", "__main__"})}) + "\n")

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory, server: Server) -> Path:
    folder = make_inputs(tmp_path_factory.mktemp("inputs"))
    made = server.run("vocab-extend", folder / "model", f"th={folder}/th.jsonl", "--add", 8, "-o", folder / "extended")
    assert made.code == 0, made.stderr
    return folder


class Disk:
    """A tmpfs of its own at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fill(self, leave: int) -> None:
        """Write a hidden file until about `leave` bytes are free."""
        (self.path / ".filler").unlink(missing_ok=True)
        status = os.statvfs(self.path)
        with (self.path / ".filler").open("wb") as filler:
            filler.write(bytes(max(0, status.f_bavail * status.f_frsize - leave)))

    def read_only(self) -> None:
        subprocess.run(["mount", "-o", "remount,ro", str(self.path)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A file system of 8 MiB; a visible skip where this user may not mount one."""
    path = tmp_path / "disk"
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(path)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a tmpfs: {mounted.stderr.strip()} (run as root)")
    yield Disk(path)
    subprocess.run(["umount", "-l", str(path)], check=True)
