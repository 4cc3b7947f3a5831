"""Fixtures for every test: the shared real data, and the command line run in process."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
_OF_TESTS = ("SEA_SHARED", "SEA_DIST", "SEA_KILLS")
_OF_SHELLS = re.compile(
    r"SEA_|SLURM_|RANK$|LOCAL_RANK$|WORLD_SIZE$|MASTER_|NO_COLOR$|FORCE_COLOR$|COLUMNS$|OPENAI_API_KEY$"
)


@pytest.fixture(scope="session", autouse=True)
def nobodys_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What a developer has set for sea (variables, ~/.config/sea, a sea.toml here, a Slurm job) is not for tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if _OF_SHELLS.match(name) and name not in _OF_TESTS:
                patch.delenv(name)
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        if Path("sea.toml").exists():
            if shared := os.environ.get("SEA_SHARED"):
                patch.setenv("SEA_SHARED", os.path.abspath(shared))
            patch.chdir(tmp_path_factory.mktemp("nowhere"))
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data, tokenizers and models: `SEA_SHARED`, or `../shared` beside the repository."""
    folder = Path(os.environ.get("SEA_SHARED") or REPOSITORY.parent / "shared")
    if not (folder / "tokenizers").is_dir():
        pytest.skip(f"needs the shared data ({folder} is not there; set SEA_SHARED)")
    return folder


@dataclass(frozen=True)
class Result:
    """What one run of the command line gave."""

    code: int
    stdout: bytes
    stderr: str


class _Standard(io.TextIOWrapper):
    """A stand-in for a standard stream: bytes beneath, never a terminal."""

    def __init__(self, content: bytes = b"") -> None:
        super().__init__(io.BytesIO(content), encoding="utf-8", write_through=True)

    def content(self) -> bytes:
        self.flush()
        return self.buffer.getvalue()  # type: ignore[attr-defined]

    def fileno(self) -> int:
        raise io.UnsupportedOperation("fileno")


@pytest.fixture(scope="session")
def sea() -> Callable[..., Result]:
    """Run `sea ARGS` in this process: `sea("mix", "a=x.jsonl:1", stdin=b"")` gives Result(code, stdout, stderr)."""
    from seatools.cli import main

    def run(*args: object, stdin: bytes = b"") -> Result:
        out, err = _Standard(), _Standard()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stdin", _Standard(stdin))
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            patch.setattr(sys, "argv", ["sea", *map(str, args)])  # manifests keep it
            code = main([str(arg) for arg in args])
        return Result(code, out.content(), err.content().decode("utf-8", "replace"))

    return run
