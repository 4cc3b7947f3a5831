"""`--on-error`: builds the rejects policy of a command, with its quarantine file; checks that of `--rejects`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from seatools.streams.errors import UsageError
from seatools.streams.inputs import same_file
from seatools.streams.messages import Messages
from seatools.streams.outputs import open_output
from seatools.streams.records import Rejects


@contextlib.contextmanager
def rejects_policy(
    on_error: str,
    quarantine_path: str | None,
    output: str | Path | None,
    messages: Messages,
    *,
    force: bool = False,
    dry_run: bool = False,
) -> Iterator[Rejects]:
    """Rejects handled by `on_error`; a quarantine file appears (also when empty) only under `quarantine`.

    Its default name is `OUT.quarantine.jsonl`; with stdout as output the user must name it. A dry run writes none and
    only counts. The summary of what was rejected goes to stderr at the end.
    """
    to_stdout = output is None or str(output) == "-"
    if dry_run and on_error == "quarantine":
        on_error, quarantine_path = "skip", None
    if on_error != "quarantine":
        if quarantine_path is not None:
            raise UsageError("--quarantine needs --on-error quarantine")
        rejects = Rejects(on_error)
        yield rejects
    else:
        if quarantine_path is None:
            if to_stdout:
                raise UsageError("--on-error quarantine needs a file", fix="--quarantine FILE")
            quarantine_path = f"{str(output).rstrip('/')}.quarantine.jsonl"
        is_output = quarantine_path == "-" if to_stdout else same_file(quarantine_path, str(output))
        if is_output:
            raise UsageError("the quarantine file is the output", fix="--quarantine ANOTHER")
        with open_output(quarantine_path, force=force) as stream:
            rejects = Rejects("quarantine", stream, quarantine_path)
            yield rejects
    if rejects.total:
        messages.warn(rejects.summary())


def refuse_shared_rejects(rejects: str | None, output: str | None, quarantine: str | None) -> None:
    """UsageError if the file of `--rejects` is another that is written: two streams would tear each other's lines."""
    if rejects is None:
        return
    if rejects == "-" or (output not in (None, "-") and same_file(rejects, str(output))):
        raise UsageError("the rejects file is the output", fix="--rejects ANOTHER")
    if quarantine is not None and same_file(rejects, quarantine):
        raise UsageError("the rejects file is the quarantine file", fix="--rejects ANOTHER")
