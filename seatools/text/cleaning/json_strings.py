"""New values for some strings of a JSON object, all its other bytes as they came: spaces, escapes, key order, floats.

A walk over the object finds where each wanted string stands; what is not on the way to one is skipped, however deeply
it is nested. Of a key that is there twice the last counts, as for every JSON reader here. Paid only by records that
change.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from seatools.streams.json_values import end_of_value
from seatools.streams.records import dump

Path = tuple[str | int, ...]
_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


def with_strings(raw: bytes, new: Mapping[Path, str]) -> bytes:
    """`raw` with the string at each path, such as ("messages", 0, "content"), replaced. KeyError if it is not there."""
    text = raw.decode("utf-8")
    on_the_way = {path[:length] for path in new for length in range(len(path))}
    spans: dict[Path, tuple[int, int]] = {}
    _walk(text, _space(text, 0), (), on_the_way, new, spans)
    parts: list[str] = []
    done = 0
    for path, (start, end) in sorted(((path, spans[path]) for path in new), key=lambda item: item[1]):
        parts += text[done:start], dump(new[path]).decode("utf-8")
        done = end
    return ("".join(parts) + text[done:]).encode("utf-8")


def _space(text: str, position: int) -> int:
    return _SPACE.match(text, position).end()  # type: ignore[union-attr]  # it matches nothing, too


def _walk(
    text: str,
    start: int,
    path: Path,
    on_the_way: set[Path],
    new: Mapping[Path, str],
    spans: dict[Path, tuple[int, int]],
) -> int:
    """Note the spans below the value that begins at `start`; returns where it ends."""
    opening = text[start]
    if path not in on_the_way or opening not in "{[":
        end = end_of_value(text, start)
        if path in new:
            spans[path] = (start, end)
        return end
    closing = "}" if opening == "{" else "]"
    position, number = _space(text, start + 1), 0
    while text[position] != closing:
        key: str | int = number
        if opening == "{":
            key, position = _DECODER.raw_decode(text, position)
            position = _space(text, _space(text, position) + 1)
        position = _space(text, _walk(text, position, (*path, key), on_the_way, new, spans))
        number += 1
        if text[position] == ",":
            position = _space(text, position + 1)
    return position + 1
