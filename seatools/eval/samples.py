"""`samples.jsonl`: every answer of a model, one line each, from which results are computed without it.

    {"key", "task", "lang", "kind", "scoring", "item", "index", "result": {...}, "config": {...}}  optional: "id"

`item`: digest of the item's own content (`item_digest`), the same under every model, prompt and number of shots:
`compare` pairs by it. `index`: its place in the data. `scoring`: how a figure is made of it (`scoring.py`). `result`,
by `kind`: choice {logprobs, bytes, gold}, nats and UTF-8 bytes of each choice; generation {text, finish, ...} and what
its scoring needs (reference, choices, gold); loglikelihood {nats, bytes, tokens}; tokens {tokens, bytes, characters,
clusters, unk, byte_pieces, incomplete} and, where the script writes spaces, {words}. `config`: what determines the
answer, the digests of weights, tokenizer, template, task and switched-off neurons among it. `key`: the digest of task,
lang, item and config, so resume, cache and shards are one thing: an answer whose key is there is not asked for again.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from seatools.streams.appended_lines import is_torn
from seatools.streams.errors import SeaError
from seatools.streams.inputs import open_input, shown
from seatools.streams.records import MAX_LINE_BYTES, BadRecord

DIGESTS = ("model_digest", "tokenizer_digest", "template_digest", "task_digest", "neurons_digest")
"""What every config holds, None where there is none (no chat template, nothing switched off)."""
UNKEYED = ("model", "deactivate", "apply_patch")
"""How the user spelled what the digests say: not part of the key. Any other entry of a config is."""
_VERSION = 1
_SORTED = orjson.OPT_SORT_KEYS


def item_digest(content: Any, occurrence: int = 0) -> str:
    """32 hex digits of an item as it stands in the data (JSON values); `occurrence` tells apart repetitions of one."""
    body = orjson.dumps([_VERSION, content, occurrence], option=_SORTED)
    return hashlib.sha256(body).hexdigest()[:32]


def keyed(config: Mapping[str, Any]) -> bytes:
    """The part of a config that determines answers, as canonical JSON. Raises ValueError for one without digests."""
    missing = [name for name in DIGESTS if name not in config]
    if missing:
        raise ValueError(f"a sample's config needs {', '.join(missing)}")
    return orjson.dumps({key: value for key, value in config.items() if key not in UNKEYED}, option=_SORTED)


def sample_key(task: str, lang: str, item: str, config: Mapping[str, Any]) -> str:
    """64 hex digits: the same answer under the same key."""
    body = orjson.dumps([_VERSION, task, lang, item]) + keyed(config)
    return hashlib.sha256(body).hexdigest()


@dataclass(frozen=True, slots=True)
class Sample:
    """One line."""

    key: str
    task: str
    lang: str
    kind: str
    scoring: str
    item: str
    index: int
    result: dict[str, Any]
    config: dict[str, Any]
    id: str | int | None = None
    """The data set's name for the item."""

    def line(self) -> bytes:
        """The JSON with its line end. Raises SeaError for a result that no score can be made of."""
        try:
            check_result(self.kind, self.result)
        except BadRecord as error:
            raise SeaError(error.what, where=f"{self.task}, {self.lang}, item {self.index}", fix=error.fix) from error
        record = {
            "key": self.key, "task": self.task, "lang": self.lang, "kind": self.kind, "scoring": self.scoring,
            "item": self.item, "index": self.index, "result": self.result, "config": self.config,
        }  # fmt: skip
        if self.id is not None:
            record["id"] = self.id
        return orjson.dumps(record) + b"\n"


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _integer(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def check_result(kind: str, result: Any) -> None:
    """Raises BadRecord for a result that is not one of its kind."""
    if not isinstance(result, dict):
        raise BadRecord("bad result", "the result is not an object")
    wrong: str | None = None
    if kind == "choice":
        logprobs, lengths, gold = result.get("logprobs"), result.get("bytes"), result.get("gold")
        if not isinstance(logprobs, list) or len(logprobs) < 2 or not all(map(_number, logprobs)):
            wrong = f"logprobs is {_brief(logprobs)}, not finite numbers of two choices or more"
        elif not isinstance(lengths, list) or len(lengths) != len(logprobs):
            wrong = f"bytes is {_brief(lengths)}, not one number for each choice"
        elif not all(_integer(length, 1) for length in lengths):
            wrong = f"bytes is {_brief(lengths)}; each must be at least 1"
        elif not isinstance(gold, int) or not 0 <= gold < len(logprobs) or isinstance(gold, bool):
            wrong = f"gold is {_brief(gold)}, none of the {len(logprobs)} choices, from 0"
    elif kind == "generation":
        if not isinstance(result.get("text"), str):
            wrong = f"text is {_brief(result.get('text'))}, not a string"
        elif not isinstance(result.get("finish"), str):
            wrong = f"finish is {_brief(result.get('finish'))}, not a string"
    elif kind == "loglikelihood":
        if not _number(result.get("nats")):
            wrong = f"nats is {_brief(result.get('nats'))}, not a finite number"
        elif not all(_integer(result.get(name), 0) for name in ("bytes", "tokens")):
            wrong = "bytes and tokens are not counts"
    elif kind == "tokens":
        least = {"tokens": 1, "bytes": 1, "characters": 1, "clusters": 1, "unk": 0, "byte_pieces": 0, "incomplete": 0}
        bad = [name for name, lowest in least.items() if not _integer(result.get(name), lowest)]
        if bad or ("words" in result and not _integer(result["words"], 0)):
            wrong = f"{(bad or ['words'])[0]} is no count"
    else:
        wrong = f"no kind {_brief(kind)}: it is choice, generation, loglikelihood or tokens"
    if wrong:
        raise BadRecord("bad result", wrong)


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else text[:57] + "..."


_TEXTS = ("key", "task", "lang", "kind", "scoring", "item")


def parse_sample(line: bytes) -> Sample:
    """A line of the file. Raises BadRecord."""
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise BadRecord("broken json", f"broken JSON: {error.msg} at column {error.colno}") from error
    if not isinstance(value, dict) or not all(isinstance(value.get(name), str) for name in _TEXTS):
        raise BadRecord("no sample", f"no sample: it needs {', '.join(_TEXTS)}", fix="give files of sea eval --samples")
    if not _integer(value.get("index"), 0) or not isinstance(value.get("config"), dict):
        raise BadRecord("no sample", 'no sample: "index" must be a count and "config" an object')
    if missing := [name for name in DIGESTS if name not in value["config"]]:
        raise BadRecord("no sample", f"no sample: its config needs {', '.join(missing)}")
    check_result(value["kind"], value.get("result"))
    names = (*_TEXTS, "index", "result", "config")
    return Sample(**{name: value[name] for name in names}, id=value.get("id"))


class SampleReader:
    """The samples of files, one after the other, each key once (the first wins); memory: 200 bytes a sample.

    A last line that kill -9 cut off is left out; damage elsewhere is an error, naming file and line.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = list(paths)
        self.torn: list[str] = []
        """Files whose last line is cut off."""
        self.repeated = 0
        """Samples left out, as their key had been there."""
        self.contradicted = 0
        """... though their result was another one."""

    def __iter__(self) -> Iterator[Sample]:
        self.torn, self.repeated, self.contradicted = [], 0, 0
        seen: dict[bytes, bytes] = {}
        for path in self.paths:
            for line, where in self._lines(path):
                try:
                    sample = parse_sample(line)
                except BadRecord as error:
                    error.where = where
                    if error.reason == "broken json":
                        error.fix = "a killed run's file joined with others? resume that run first, or delete the line"
                    raise
                key = hashlib.sha256(sample.key.encode()).digest()[:16]
                content = hashlib.sha256(orjson.dumps(sample.result, option=_SORTED)).digest()[:8]
                if key in seen:
                    self.repeated += 1
                    self.contradicted += seen[key] != content
                    continue
                seen[key] = content
                yield sample

    def warnings(self) -> list[str]:
        """What to say after reading."""
        found = [f"{path}: the last line is cut off and left out (was the run killed?)" for path in self.torn]
        if self.contradicted:
            found.append(
                f"{self.contradicted:,} samples stand there again with another result; the first of each counts"
            )
        return found

    def _lines(self, path: str) -> Iterator[tuple[bytes, str]]:
        with open_input(path) as stream:
            number = 0
            while line := stream.readline(MAX_LINE_BYTES + 1):
                number += 1
                where = f"{shown(path)}:{number}"
                if len(line) > MAX_LINE_BYTES:
                    raise BadRecord("line too long", f"a line of more than {MAX_LINE_BYTES:,} bytes", where=where)
                if not line.endswith(b"\n") and is_torn(line):
                    self.torn.append(shown(path))
                elif line.strip():
                    yield line, where
