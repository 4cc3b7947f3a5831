"""Prompt records as `sample` takes them, and what a model is asked with each."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
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

Turns = list[dict[str, Any]]
Prompt = str | Turns


def read_prompts(paths: Sequence[str], *, rejects: Rejects, limit: int | None) -> list[Record]:
    """All prompt records: `prompt`, or a chat record whose last answer is left out, or lines of a .txt file."""
    records: list[Record] = []
    for path in paths:
        plain = bare_suffix(path) == ".txt"
        left = None if limit is None else limit - len(records)
        reader = RecordReader([path], check=check_text if plain else _check, rejects=rejects, limit=left)
        records += [_as_prompt(record) if plain else record for record in reader]
    return records


def prompt_of(value: Mapping[str, Any]) -> Prompt:
    """What the record says: `prompt`, else the messages of a chat record without its last answer."""
    if "prompt" in value:
        return value["prompt"]
    messages = value["messages"]
    return messages[:-1] if messages[-1]["role"] == "assistant" else messages


def asked_prompt(prompt: Prompt, *, system: str | None, chat: bool) -> Prompt:
    """What the model is asked: with a system turn where there is none; a string is a user's turn after it, or in a
    chat."""
    if system is None and not chat:
        return prompt
    turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    if system is None or turns[0]["role"] == "system":
        return turns
    return [{"role": "system", "content": system}, *turns]


def texts_of(prompt: Prompt) -> list[str]:
    """The texts in a prompt that its language shows in: the string, or the turns without the system's."""
    return [prompt] if isinstance(prompt, str) else [str(t["content"]) for t in prompt if t["role"] != "system"]


def with_texts(prompt: Prompt, texts: Sequence[str]) -> Prompt:
    """`prompt` with others in place of `texts_of`."""
    if isinstance(prompt, str):
        return texts[0]
    left = iter(texts)
    return [turn if turn["role"] == "system" else {**turn, "content": next(left)} for turn in prompt]


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
    texts = texts_of(prompt_of(value))
    if not texts or not texts[-1].strip():
        raise BadRecord("empty prompt", "the prompt is empty")


def _as_prompt(record: Record) -> Record:
    """A line of plain text becomes a record {"prompt": line}."""
    value = {"prompt": record.value["text"]}
    return dataclasses.replace(record, raw=dump(value), value=value)
