"""Messages for people: stderr only, so that stdout carries nothing but data."""

from __future__ import annotations

import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Messages:
    """Where a command's words go: `-q` keeps warnings only, `-v` adds detail; `silent` is for all processes but one."""

    quiet: bool = False
    verbose: int = 0
    silent: bool = False

    def info(self, text: str) -> None:
        if not self.quiet and not self.silent:
            sys.stderr.write(text + "\n")

    def warn(self, text: str) -> None:
        if not self.silent:
            sys.stderr.write(f"warning: {text}\n")

    def debug(self, text: str) -> None:
        if self.verbose and not self.quiet and not self.silent:
            sys.stderr.write(text + "\n")
