"""What the tokenizer engines raise at files and texts that they cannot use, as errors of ours.

tokenizers raises bare `Exception`; a panic of Rust is no `Exception` at all and has no class that could be imported;
sentencepiece raises RuntimeError, whose message may itself not be UTF-8.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from seatools.streams.errors import SeaError


def is_panic(error: BaseException) -> bool:
    """True for a panic of the Rust side."""
    return type(error).__name__ == "PanicException"


@contextlib.contextmanager
def explained(what: str, where: Path, fix: str = "get the file again") -> Iterator[None]:
    """SeaError "`where`: `what`: ..." for whatever an engine raises in the `with`."""
    try:
        yield
    except SeaError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and not is_panic(error):
            raise
        raise SeaError(f"{where}: {what}: {str(error).strip()[:300]}", fix=fix) from None
