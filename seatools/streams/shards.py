"""`--shard I/N`: which part of the work this run does."""

from __future__ import annotations

import re

from seatools.streams.errors import UsageError


def parse_shard(text: str | None) -> tuple[int, int]:
    """(I, N) with 0 <= I < N; (0, 1) for none. Raises UsageError."""
    if text is None:
        return 0, 1
    found = re.fullmatch(r"([0-9]+)/([0-9]+)", text)
    if found is None or not int(found[1]) < int(found[2]):
        raise UsageError(f'--shard "{text}" is no shard', fix="I/N, N parts counted from 0: --shard 0/4 to --shard 3/4")
    return int(found[1]), int(found[2])
