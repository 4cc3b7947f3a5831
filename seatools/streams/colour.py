"""Whether colours and bold go out: `--color auto|always|never`, and NO_COLOR, FORCE_COLOR, TERM=dumb beneath it.

rich reads those variables itself whenever a console is made, and processes that we start inherit them; so --color is
set as they are, for the time of a command.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from enum import StrEnum
from typing import IO


class ColorChoice(StrEnum):
    """When colours go out."""

    auto = "auto"
    always = "always"
    never = "never"


_VARIABLES = ("NO_COLOR", "FORCE_COLOR", "TERM")


def wants_colour(stream: IO[str]) -> bool:
    """Whether colours go to this stream, for what is written without rich."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return bool(os.environ.get("FORCE_COLOR")) or stream.isatty()


@contextlib.contextmanager
def colour(choice: str) -> Iterator[None]:
    """While this is open, the environment says what `choice` says; `auto` leaves it as the user has it.

    `never` also says TERM=dumb, since rich takes NO_COLOR to mean colours only, and goes on writing bold.
    """
    if choice == "auto":
        yield
        return
    before = {name: os.environ.get(name) for name in _VARIABLES}
    wanted = {"NO_COLOR": "1", "TERM": "dumb"} if choice == "never" else {"FORCE_COLOR": "1"}
    for name in _VARIABLES:
        if name != "TERM" or before["TERM"] == "dumb":
            os.environ.pop(name, None)
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
