"""`--join-turns N`: single-turn chats joined at random into conversations of 2 to N exchanges.

SeaLLMs does so late in its SFT, for multi-turn data that is not there (arXiv 2312.00738, section 3.2). Only chats of
one user turn and one answer are joined, and only those with the same system prompt, which is said once, and of the
same `lang`; texts, completions and conversations pass as they came. Which ones meet is a permutation keyed by seed,
source and group, so each is used once; one that is left over passes as it came. Keys other than these are dropped.
Single turns wait for the last record in an unnamed temporary file; 24 bytes of each stay in memory.
"""

from __future__ import annotations

import hashlib
import tempfile
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any

import orjson

from seatools.mix.keyed_order import epoch_order
from seatools.mix.source_reading import Stage
from seatools.streams.records import Record, dump


def join_turns(max_turns: int, *, seed: int, name: str) -> Stage:
    """A stage that joins the single turns of source `name` into conversations of 2 to `max_turns` exchanges.

    A joined record has `messages`, `lang` if its records have one, and `joined`: their ids, or FILE:LINE.
    """

    def stage(records: Iterator[Record]) -> Iterator[Record]:
        with tempfile.TemporaryFile(prefix="sea-mix-") as spool:
            groups: dict[tuple[str, str | None], _Group] = {}
            for record in records:
                exchange = _single_turn(record.value)
                if exchange is None:
                    yield record
                    continue
                group = groups.setdefault(_group_of(exchange, record.value), _Group())
                group.add(record, spool)
            for (lang, system), group in groups.items():
                key = f"{name}\0join\0{lang}\0{system}"
                order = epoch_order(len(group.offsets), seed=seed, name=key, epoch=0).tolist()
                for places in _conversations(order, max_turns, key=f"{seed}\0{key}"):
                    yield _joined([group.read(place, spool) for place in places])

    return stage


@dataclass
class _Group:
    """The single turns of one language and system prompt, by their places in the spool."""

    offsets: array[int] = field(default_factory=lambda: array("Q"))
    lengths: array[int] = field(default_factory=lambda: array("I"))
    lines: array[int] = field(default_factory=lambda: array("Q"))
    files: array[int] = field(default_factory=lambda: array("I"))
    paths: dict[str, int] = field(default_factory=dict)

    def add(self, record: Record, spool: IO[bytes]) -> None:
        self.offsets.append(spool.tell())
        self.lengths.append(len(record.raw))
        self.lines.append(record.line)
        self.files.append(self.paths.setdefault(record.path, len(self.paths)))
        spool.write(record.raw)

    def read(self, place: int, spool: IO[bytes]) -> Record:
        spool.seek(self.offsets[place])
        raw = spool.read(self.lengths[place])
        return Record(raw, orjson.loads(raw), list(self.paths)[self.files[place]], self.lines[place])


def _single_turn(value: dict[str, Any]) -> list[dict[str, Any]] | None:
    """[system?, user, assistant] if that is all the record says; None for everything else."""
    messages: Any = value.get("messages")
    if messages is None and isinstance(value.get("prompt"), list) and "completion" in value:
        completion = value["completion"]
        answer = [{"role": "assistant", "content": completion}] if isinstance(completion, str) else completion
        messages = [*value["prompt"], *answer]
    if messages is None or "tools" in value:
        return None
    roles = [message["role"] for message in messages]
    return messages if roles in (["user", "assistant"], ["system", "user", "assistant"]) else None


def _group_of(exchange: list[dict[str, Any]], value: dict[str, Any]) -> tuple[str, str | None]:
    system = exchange[0]["content"] if exchange[0]["role"] == "system" else None
    return str(value.get("lang") or ""), system


def _conversations(order: list[int], max_turns: int, *, key: str) -> Iterable[list[int]]:
    """The places of `order` in runs of 2 to `max_turns`, each length as likely; what is left at the end is shorter."""
    start = 0
    while start < len(order):
        draw = hashlib.blake2b(f"{key}\0{start}".encode(), digest_size=8).digest()
        stop = start + 2 + int.from_bytes(draw, "little") % (max_turns - 1)
        yield order[start:stop]
        start = stop


def _joined(records: list[Record]) -> Record:
    first = records[0]
    if len(records) == 1:
        return first
    messages: list[dict[str, Any]] = []
    for record in records:
        exchange = _single_turn(record.value)
        assert exchange is not None
        messages.extend(exchange if not messages else exchange[-2:])
    value: dict[str, Any] = {"messages": messages}
    if first.value.get("lang"):
        value["lang"] = first.value["lang"]
    value["joined"] = [record.value.get("id", record.where) for record in records]
    return Record(dump(value), value, first.path, first.line)
