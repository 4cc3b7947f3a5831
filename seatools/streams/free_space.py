"""Whether a disk has room, asked before the work and not after the last byte that fitted."""

from __future__ import annotations

import shutil
from pathlib import Path

from seatools.streams.errors import SeaError


def check_space(place: Path, needed: int, what: str, *, fix: str, where: str | None = None) -> None:
    """Raise SeaError where the disk of `place`, which need not be there yet, has fewer than `needed` bytes free.

    A file system that does not say how large it is, as some of a network, is taken to have room.
    """
    folder = place.absolute()
    while not folder.exists():
        folder = folder.parent
    disk = shutil.disk_usage(folder)
    if disk.total and needed > disk.free:
        raise SeaError(f"{what} take {needed:,} bytes, and {disk.free:,} are free on its disk", where=where, fix=fix)
