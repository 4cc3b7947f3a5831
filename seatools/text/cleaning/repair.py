"""The texts of a record made right one by one: invisible characters, then Zawgyi to Unicode, then NFC.

In this order, since a mark that is taken out may stand between a letter and what NFC joins to it. A chat record is
mended turn by turn (Zawgyi is decided for each), a text record in its `text`; every other byte of the line stays.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

import orjson

from seatools.streams.records import Record
from seatools.text.cleaning.json_strings import Path, with_strings
from seatools.text.cleaning.zero_width import repair_zero_width
from seatools.text.text_warnings import normaliser


def repairer(normalize: str, zero_width: str) -> Callable[[str], str]:
    """text -> text by `--normalize none|nfc|zawgyi` and `--zero-width none|repair|strip`; applying it twice changes
    nothing more."""
    to_form = normaliser(normalize)
    if zero_width == "none":
        return to_form
    keep = zero_width == "repair"

    def mend(text: str) -> str:
        text = to_form(repair_zero_width(text, keep_khmer_breaks=keep))
        # NFC may have put another mark before a joiner that was kept for the mark that stood there.
        while (again := repair_zero_width(text, keep_khmer_breaks=keep)) != text:
            text = again if normalize == "none" else unicodedata.normalize("NFC", again)
        return text

    return mend


def texts_of(value: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    """The texts of a text or chat record (`check_training`), each with its path in the object, in reading order."""
    if "messages" in value:
        yield from _turns(value["messages"], "messages")
    elif "prompt" in value and "completion" in value:
        for key in ("prompt", "completion"):
            turn = value[key]
            if isinstance(turn, str):
                yield (key,), turn
            else:
                yield from _turns(turn, key)
    else:
        yield ("text",), value["text"]


def joined_text(value: dict[str, Any]) -> str:
    """What a record says as one text, a blank line between turns; the filters look at this."""
    return "\n\n".join(text for _, text in texts_of(value))


def repair_record(record: Record, repair: Callable[[str], str]) -> Record:
    """The record with its texts repaired, or itself if none changes."""
    new = {path: mended for path, text in texts_of(record.value) if (mended := repair(text)) != text}
    if not new:
        return record
    raw = with_strings(record.raw, new)
    return Record(raw, orjson.loads(raw), record.path, record.line)


def _turns(messages: list[dict[str, Any]], key: str) -> Iterator[tuple[Path, str]]:
    for number, message in enumerate(messages):
        yield (key, number, "content"), message["content"]
