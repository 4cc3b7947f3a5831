"""Prompt records as `sample` takes them, and the token ids that end an answer."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seatools.streams.records import Record, RecordReader, Rejects, check_messages, check_prompt, dump
from seatools.text.tokenizer import Tokenizer


def read_prompts(paths: Sequence[str], *, rejects: Rejects, limit: int | None) -> list[Record]:
    """All prompt records: `prompt`, or a chat record whose last answer is left out, or lines of a .txt file."""
    reader = RecordReader(list(paths), check=_check, rejects=rejects, limit=limit)
    return [_as_prompt(record) for record in reader]


def _check(value: dict[str, Any]) -> None:
    if "messages" in value:
        check_messages(value["messages"])
    elif list(value) != ["text"]:
        check_prompt(value)


def _as_prompt(record: Record) -> Record:
    """A line of plain text becomes a record {"prompt": line}."""
    if list(record.value) != ["text"]:
        return record
    value = {"prompt": record.value["text"]}
    return dataclasses.replace(record, raw=dump(value), value=value)


def stop_ids(tokenizer: Tokenizer, model_path: Path) -> frozenset[int]:
    """EOS, BOS (a model trained on packed stories ends one by beginning the next), and what generation_config.json
    names as `eos_token_id`."""
    ids = {tokenizer.eos_id, tokenizer.bos_id} - {None}
    file = model_path / "generation_config.json"
    if file.is_file():
        try:
            named = json.loads(file.read_text(encoding="utf-8")).get("eos_token_id")
        except (ValueError, AttributeError):
            named = None  # a broken generation_config.json only loses extra stop ids; loading reports the rest
        ids |= set(named) if isinstance(named, list) else {named} if isinstance(named, int) else set()
    return frozenset(int(i) for i in ids if i is not None)
