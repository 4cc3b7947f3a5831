"""Prompt records as `sample` takes them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from seatools.streams.inputs import bare_suffix
from seatools.streams.records import (
    BadRecord,
    Record,
    RecordReader,
    Rejects,
    check_messages,
    check_prompt,
    check_text,
    dump,
)


def read_prompts(paths: Sequence[str], *, rejects: Rejects, limit: int | None) -> list[Record]:
    """All prompt records: `prompt`, or a chat record whose last answer is left out, or lines of a .txt file."""
    records: list[Record] = []
    for path in paths:
        plain = bare_suffix(path) == ".txt"
        left = None if limit is None else limit - len(records)
        reader = RecordReader([path], check=check_text if plain else _check, rejects=rejects, limit=left)
        records += [_as_prompt(record) if plain else record for record in reader]
    return records


def prompt_of(value: dict[str, Any]) -> str | list[dict[str, Any]]:
    """What is asked: `prompt`, else the messages of a chat record without its last answer."""
    if "prompt" in value:
        return value["prompt"]
    messages = value["messages"]
    return messages[:-1] if messages[-1]["role"] == "assistant" else messages


def _check(value: dict[str, Any]) -> None:
    if "prompt" in value:
        check_prompt(value)
    elif "messages" in value:
        check_messages(value["messages"])
        if not prompt_of(value):
            raise BadRecord("empty prompt", "nothing stands before the assistant's turn")
    else:
        fix = 'rename it: jq -c ".prompt = .text"' if "text" in value else None
        raise BadRecord("no prompt", 'neither "prompt" nor "messages" is there', fix=fix)


def _as_prompt(record: Record) -> Record:
    """A line of plain text becomes a record {"prompt": line}."""
    value = {"prompt": record.value["text"]}
    return dataclasses.replace(record, raw=dump(value), value=value)
