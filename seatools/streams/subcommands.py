"""The first word of a command that is a model's folder or a subcommand: neither is told as what it was meant to be."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence

from seatools.streams.errors import UsageError


def refuse_misspelt(command: str, argv: Sequence[str], subcommands: Collection[str]) -> None:
    """Raise UsageError where the first of `argv` is nothing on the disk, and nearly the name of a subcommand.

    The option parser would take `sea train aply-patch ...` for a model of that name.
    """
    if not argv or argv[0].startswith("-") or os.path.exists(argv[0]):
        return
    import difflib

    close = difflib.get_close_matches(argv[0], subcommands, n=1, cutoff=0.75)
    if close:
        raise UsageError(
            f'no model folder and no subcommand "{argv[0]}"', fix=f"did you mean `sea {command} {close[0]}`?"
        )


def check_model_exists(path: str | os.PathLike[str]) -> None:
    """Raise UsageError where MODEL is not there or is a file; before its tokenizer is looked for."""
    if not os.path.isdir(path):
        what = "is a file, not a model folder" if os.path.exists(path) else "no such model folder"
        raise UsageError(f"{path}: {what}", fix="give a Hugging Face folder: config.json, *.safetensors, a tokenizer")
