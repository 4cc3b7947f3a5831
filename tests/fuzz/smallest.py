"""The part of a large corpus that is worth keeping: each input adds a branch of ours that no smaller one reaches.

Branches are pairs of lines (sys.settrace), seen in our files alone, so that the corpus does not depend on the fuzzer.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from fuzz.contract import Violation, outcome, workplace
from fuzz.readers import CORPUS, READERS, corpus_of, seeds_of

LONGEST = 8 << 10


def branches(name: str, data: bytes, folder: Path) -> set[tuple[str, int, int]]:
    """(file, line, next line) for all that one input runs; nothing where it breaks the contract."""
    found: set[tuple[str, int, int]] = set()

    def called(frame: FrameType, event: str, argument: Any) -> Any:
        if "/seatools/" not in frame.f_code.co_filename:
            return None
        file, last = frame.f_code.co_filename, 0

        def ran(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal last
            if event == "line":
                found.add((file, last, frame.f_lineno))
                last = frame.f_lineno
            return ran

        return ran

    sys.settrace(called)
    try:
        result = outcome(READERS[name], data, folder, seconds=20)
    except Violation as error:
        print(f"{name}: left out, {error}", file=sys.stderr)
        return set()
    finally:
        sys.settrace(None)
    return found if result else set()


def keep_smallest(name: str, folder: Path) -> str:
    """Put the inputs of `folder` that add branches into the corpus of `name`, smallest first; what was done."""
    candidates = {path.read_bytes() for path in (*folder.glob("*"), *corpus_of(name)) if path.is_file()}
    ordered = sorted((data for data in candidates if len(data) <= LONGEST), key=lambda data: (len(data), data))
    seen: set[tuple[str, int, int]] = set()
    kept = []
    with workplace() as place:
        for data in seeds_of(name) * 2:  # caches are filled the first time
            seen |= branches(name, data, place)
        for data in ordered:
            new = branches(name, data, place) - seen
            if new:
                kept.append(data)
                seen |= new
    target = CORPUS / name
    target.mkdir(parents=True, exist_ok=True)
    for path in corpus_of(name):
        path.unlink()
    for data in kept:
        (target / hashlib.sha256(data).hexdigest()[:12]).write_bytes(data)
    return f"{name}: {len(kept)} of {len(candidates)} inputs kept, {sum(map(len, kept)):,} bytes"
