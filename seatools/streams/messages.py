"""Messages for people: stderr only, so that stdout carries nothing but data."""

from __future__ import annotations

import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Messages:
    """Where a command's words go: `-q` keeps warnings only, `-v` adds detail."""

    quiet: bool = False
    verbose: int = 0

    def info(self, text: str) -> None:
        if not self.quiet:
            sys.stderr.write(text + "\n")

    def warn(self, text: str) -> None:
        sys.stderr.write(f"warning: {text}\n")

    def debug(self, text: str) -> None:
        if self.verbose and not self.quiet:
            sys.stderr.write(text + "\n")
