"""Fixtures for every test: the shared real data, and the command line run in process."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


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
