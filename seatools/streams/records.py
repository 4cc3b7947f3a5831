"""JSONL in: one object a line, read as bytes, checked, and named by file and line when it is bad.

A record keeps its line as it came: commands that only move documents write those bytes, and commands that add
keys splice them in before the closing brace, so unknown keys pass through byte for byte. Plain text (`.txt`) is
one document a line; its record's line is the JSON made of it. A bad line is handled by `--on-error`: `fail`
(default), `skip`, or `quarantine`, which keeps it with its reason. Reading is bounded by the longest line allowed
(64 MiB), not by the file; of a longer one the first 64 KiB are kept.
"""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

import orjson

from seatools.streams.errors import SeaError, UsageError
from seatools.streams.inputs import (
    bare_suffix,
    broken_stream,
    expand,
    is_decompression_error,
    open_input,
    same_file,
    shown,
)
from seatools.streams.json_values import end_of_value

MAX_LINE_BYTES = 64 << 20
_KEPT_OF_LONG_LINE = 64 << 10
_BOM = b"\xef\xbb\xbf"
_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class Record:
    """One line of input: its JSON as bytes (as it came, no line end), its parsed object, and where it stood."""

    raw: bytes
    value: dict[str, Any]
    path: str
    line: int

    @property
    def where(self) -> str:
        return f"{shown(self.path)}:{self.line}"


class BadRecord(SeaError):
    """A line that cannot be used; `reason` is the key under which it is counted."""

    def __init__(self, reason: str, what: str, *, where: str | None = None, fix: str | None = None) -> None:
        super().__init__(what, where=where, fix=fix)
        self.reason = reason


class Rejects:
    """What happens to bad records, by `--on-error`: raise, count, or count and keep in a quarantine file.

    `quarantine` is that file's stream; `quarantine_path`, where it will stand, may not be an input.
    """

    def __init__(
        self, on_error: str = "fail", quarantine: IO[bytes] | None = None, quarantine_path: str | None = None
    ) -> None:
        self.on_error = on_error
        self.quarantine = quarantine
        self.quarantine_path = quarantine_path
        self.counts: Counter[str] = Counter()
        self.first: str | None = None

    def take(self, error: BadRecord, raw: bytes, path: str, line: int) -> None:
        """Handle one bad line; raises it under `fail`."""
        if self.on_error == "fail":
            raise error
        self.counts[error.reason] += 1
        self.first = self.first or str(error)
        if self.on_error == "quarantine" and self.quarantine is not None:
            row: dict[str, Any] = {"file": shown(path), "line": line, "reason": error.reason, "error": error.what}
            try:
                row["raw"] = raw.decode("utf-8")
            except UnicodeDecodeError:
                row["raw_base64"] = base64.b64encode(raw).decode("ascii")
            self.quarantine.write(orjson.dumps(row) + b"\n")

    def refuse(self, record: Record, error: SeaError, *, reason: str = "bad record") -> None:
        """`take` for a record that turned out bad after it was read; `reason` is for an error that names none."""
        if not isinstance(error, BadRecord):
            error = BadRecord(reason, error.what, fix=error.fix)
        error.where = error.where or record.where
        self.take(error, record.raw, record.path, record.line)

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def summary(self) -> str:
        """For the end of a run: "3 rejected (bad json 2, no text 1); first: a.jsonl:7: ..."."""
        parts = ", ".join(f"{reason} {count}" for reason, count in sorted(self.counts.items()))
        return f"{self.total} rejected ({parts}); first: {self.first}"


Check = Callable[[dict[str, Any]], None]


def _string(value: dict[str, Any], key: str) -> str:
    if key not in value:
        close = next((name for name in ("content", "body", "document") if name in value), None)
        hint = f'this record has "{close}": rename it, for example with  jq -c ".{key} = .{close}"' if close else None
        raise BadRecord(f"no {key}", f'field "{key}" is missing', fix=hint)
    text = value[key]
    if not isinstance(text, str):
        raise BadRecord(f"{key} not a string", f'field "{key}" is {type(text).__name__}, not a string')
    if "\0" in text:
        raise BadRecord("nul", f'field "{key}" holds a NUL character')
    return text


def check_messages(messages: Any, key: str = "messages") -> None:
    """Refuse what is not a list of {role, content} with string contents."""
    if not isinstance(messages, list) or not messages:
        raise BadRecord(f"{key} not a list", f'field "{key}" is not a list of messages')
    for position, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise BadRecord(f"bad {key}", f'{key}[{position}] has no "role"')
        if not isinstance(message.get("content"), str):
            raise BadRecord(f"bad {key}", f"{key}[{position}].content is not a string")
        if "\0" in message["content"]:
            raise BadRecord("nul", f"{key}[{position}].content holds a NUL character")


def _turn(value: dict[str, Any], key: str) -> None:
    """A prompt, an answer: a string or a list of messages."""
    if isinstance(value.get(key), list):
        check_messages(value[key], key)
    else:
        _string(value, key)


def check_text(value: dict[str, Any]) -> None:
    """A text record: `text`, not empty."""
    if not _string(value, "text").strip():
        raise BadRecord("empty text", 'field "text" is empty')


def _refuse_mixed_schema(value: dict[str, Any]) -> None:
    """Of a record that says two things one would be dropped unseen; null and "" (columns of a table) say nothing."""
    if "messages" not in value and "completion" not in value:
        return
    forms = [key for key in ("messages", "completion", "text") if value.get(key) not in (None, "")]
    if "completion" in forms and "prompt" not in value:
        forms.remove("completion")
    if len(forms) > 1:
        raise BadRecord(
            "mixed schema",
            f'the record has both "{forms[0]}" and "{forms[1]}", and only one is trained',
            fix=f"keep one of them, for example with  jq -c 'del(.{forms[1]})'",
        )


def check_training(value: dict[str, Any]) -> None:
    """A text or a chat record: `text`, `messages`, or `prompt` + `completion`, and not two of them."""
    _refuse_mixed_schema(value)
    if "messages" in value:
        check_messages(value["messages"])
    elif "prompt" in value and "completion" in value:
        _turn(value, "prompt")
        _turn(value, "completion")
        if isinstance(value["completion"], str) and not value["completion"].strip():
            raise BadRecord("empty completion", 'field "completion" is empty')
    elif "text" not in value and "chosen" in value and "rejected" in value:
        raise BadRecord(
            "preference record", "preference data (chosen, rejected), not text or chat", fix="it is for `sea dpo`"
        )
    else:
        check_text(value)


def check_prompt(value: dict[str, Any]) -> None:
    """A prompt record: `prompt`, a string or messages, not empty."""
    _turn(value, "prompt")
    if not value["prompt"]:
        raise BadRecord("empty prompt", 'field "prompt" is empty')


def check_responses(value: dict[str, Any]) -> None:
    """A responses record: a prompt and a list of strings."""
    check_prompt(value)
    responses = value.get("responses")
    if not isinstance(responses, list) or not all(isinstance(answer, str) for answer in responses):
        raise BadRecord("no responses", 'field "responses" is not a list of strings', fix="make it with `sea sample`")


def check_preference(value: dict[str, Any]) -> None:
    """A preference record: `chosen` and `rejected`, and `prompt` unless both begin with it; strings or messages."""
    for key in ("prompt", "chosen", "rejected"):
        if key != "prompt" or value.get(key) is not None:
            _turn(value, key)
    if value["chosen"] == value["rejected"]:
        raise BadRecord("identical answers", "chosen and rejected are the same")
    for key in ("chosen", "rejected"):
        if isinstance(value[key], str) and not value[key].strip():
            raise BadRecord("empty answer", f'field "{key}" is empty')


def check_any(value: dict[str, Any]) -> None:
    """Any object."""


class RecordReader:
    """Iterate over the records of files, in order.

    `specs`: paths, globs, folders, `@list`, `-`. `check` refuses a parsed object by raising `BadRecord`.
    `limit` stops after that many good records. `num_read` and `num_bytes` (of lines) count what was delivered.
    """

    def __init__(
        self,
        specs: str | Sequence[str],
        *,
        check: Check = check_any,
        rejects: Rejects | None = None,
        limit: int | None = None,
        max_line_bytes: int = MAX_LINE_BYTES,
    ) -> None:
        self.paths = expand(specs)
        self.check = check
        self.rejects = rejects or Rejects()
        self.limit = limit
        self.max_line_bytes = max_line_bytes
        quarantine_path = self.rejects.quarantine_path
        if quarantine_path is not None and any(same_file(quarantine_path, path) for path in self.paths):
            raise UsageError(f"{quarantine_path} is both input and quarantine file", fix="--quarantine ANOTHER")
        self.num_read = 0
        self.num_bytes = 0

    def __iter__(self) -> Iterator[Record]:
        for path in self.paths:
            if self.limit is not None and self.num_read >= self.limit:
                return
            with open_input(path) as stream:
                yield from self._file(stream, path)

    def _file(self, stream: IO[bytes], path: str) -> Iterator[Record]:
        plain = bare_suffix(path) == ".txt"
        number = 0
        try:
            while line := stream.readline(self.max_line_bytes + 1):
                number += 1
                try:
                    if len(line) > self.max_line_bytes:
                        line, length = self._skip_rest(stream, line)
                        raise BadRecord(
                            "line too long",
                            f"a line of {length:,} bytes; {self.max_line_bytes:,} are allowed",
                            fix="is this file JSONL? one document a line",
                        )
                    record = self._parse(line, path, number, plain)
                except BadRecord as error:
                    error.where = error.where or f"{shown(path)}:{number}"
                    self.rejects.take(error, line.rstrip(b"\r\n"), path, number)
                    continue
                if record is not None:
                    self.num_read += 1
                    self.num_bytes += len(line)
                    yield record
                    if self.limit is not None and self.num_read >= self.limit:
                        return
        except Exception as error:
            if not is_decompression_error(error):
                raise
            raise broken_stream(error, f"{shown(path)}:{number + 1}") from error

    def _skip_rest(self, stream: IO[bytes], line: bytes) -> tuple[bytes, int]:
        """Read past the end of an over-long line; keep its beginning for the quarantine file."""
        length, head = len(line), line[:_KEPT_OF_LONG_LINE]
        while not line.endswith(b"\n") and (line := stream.readline(1 << 20)):
            length += len(line)
        return head, length

    def _parse(self, line: bytes, path: str, number: int, plain: bool) -> Record | None:
        if number == 1 and line.startswith(_BOM):
            line = line[len(_BOM) :]
        raw = line.rstrip(b"\r\n")
        if not raw.strip():
            return None
        if b"\0" in raw:
            raise BadRecord(
                "nul", "the line holds a NUL byte", fix="is this file binary, UTF-16, or cut off by a crash?"
            )
        value = self._plain(raw) if plain else self._object(raw)
        self.check(value)
        if plain:
            raw = dump(value)
        return Record(raw, value, path, number)

    @staticmethod
    def _plain(raw: bytes) -> dict[str, Any]:
        try:
            return {"text": raw.decode("utf-8")}
        except UnicodeDecodeError as error:
            raise BadRecord("not utf-8", f"invalid UTF-8 at byte {error.start}") from error

    @staticmethod
    def _object(raw: bytes) -> dict[str, Any]:
        try:
            value = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            try:
                raw.decode("utf-8")
            except UnicodeDecodeError as utf8:
                raise BadRecord("not utf-8", f"invalid UTF-8 at byte {utf8.start}") from error
            hint: str | None = "plain text, one document a line, must be named .txt"
            if (begin := raw.strip()[:1]) in (b"{", b"["):
                whole = "." if begin == b"{" else "'.[]'"
                hint = f"one object a line: jq -c {whole} FILE" if len(raw.strip()) == 1 else None
            what = f"broken JSON: {error.msg} at column {error.colno}"
            raise BadRecord("broken json", what, fix=hint) from error
        if not isinstance(value, dict):
            raise BadRecord("not an object", f"a JSON {type(value).__name__}, not an object")
        return value


def dump(value: Any) -> bytes:
    """One JSON value as UTF-8 bytes, no line end."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


def with_keys(raw: bytes, new: dict[str, Any], *, drop: Sequence[str] = ()) -> bytes:
    """The JSON object `raw` with the keys of `new` at its end and those in `drop` gone; all others byte for byte."""
    kept = raw.strip()
    unwanted = (set(new) | set(drop)) & set(orjson.loads(kept))
    if unwanted:
        kept = _without(kept, unwanted)
    body = kept[1:-1].strip()
    added = dump(new)[1:-1]
    return b"{" + b",".join(part for part in (body, added) if part) + b"}"


def _without(raw: bytes, keys: set[str]) -> bytes:
    """Cut members named in `keys` out of a valid JSON object, leaving the others' bytes alone."""
    text, members = raw.decode("utf-8"), []

    def skip_space(position: int) -> int:
        return _SPACE.match(text, position).end()  # type: ignore[union-attr]  # it matches nothing, too

    position = skip_space(1)
    while text[position] != "}":
        start = position
        name, position = _DECODER.raw_decode(text, start)
        colon = skip_space(position)
        end = end_of_value(text, skip_space(colon + 1))
        if name not in keys:
            members.append(text[start:end])
        position = skip_space(end)
        if text[position] == ",":
            position = skip_space(position + 1)
    return ("{" + ",".join(members) + "}").encode("utf-8")
