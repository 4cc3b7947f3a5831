"""What `--workers 0` means. A container or `taskset` may allow fewer cores than there are."""

from __future__ import annotations

import os


def available_cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
