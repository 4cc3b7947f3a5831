"""What the judge is told a better answer is: a file of the user's, or this text."""

from __future__ import annotations

from pathlib import Path

from seatools.streams.errors import SeaError

DEFAULT = """\
Compare two answers to the question. The better answer is correct, helpful and safe, speaks the language of the \
question, is fluent, and says no more than is needed."""


def read_criteria(path: Path | None) -> str:
    """The criteria text of `path`, or the default."""
    if path is None:
        return DEFAULT
    try:
        text = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SeaError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SeaError(f"{path}: not UTF-8 text") from error
    if not text:
        raise SeaError(f"{path}: no criteria in this file")
    return text
