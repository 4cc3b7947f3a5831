"""Standard input read to its end before a model is loaded, so that `sample | judge | dpo` never holds two models.

The bytes, decompressed, go to a file that only this user may read (mode 0600) and that goes with the `with`, hashed
on the way. Messages about it say "stdin" (`inputs.shown`).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from seatools.streams.inputs import SPOOL_PREFIX, broken_stream, is_decompression_error, open_input


@contextlib.contextmanager
def spooled(specs: Sequence[str], folder: Path | None = None) -> Iterator[tuple[list[str], str | None]]:
    """The same specs with `-` replaced by a private file that holds all of stdin, and that file's sha256 (or None)."""
    if "-" not in specs:
        yield list(specs), None
        return
    descriptor, name = tempfile.mkstemp(prefix=SPOOL_PREFIX, suffix=".jsonl", dir=folder)
    try:
        total = hashlib.sha256()
        with os.fdopen(descriptor, "wb") as spool:
            for chunk in _chunks():
                total.update(chunk)
                spool.write(chunk)
        yield [name if spec == "-" else spec for spec in specs], total.hexdigest()
    finally:
        Path(name).unlink(missing_ok=True)


def _chunks() -> Iterator[bytes]:
    """Standard input, decompressed, a MiB at a time."""
    with open_input("-") as stream:
        try:
            while chunk := stream.read(1 << 20):
                yield chunk
        except Exception as error:
            if not is_decompression_error(error):
                raise
            raise broken_stream(error, "stdin") from error
