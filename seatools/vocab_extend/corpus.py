"""The text of a run, read once and kept as counts: training, protected, parallel and measured, by language.

Beside the counts a sample of each text (a quarter of a megabyte, evenly spaced) stays, for the checks that need running
text; of text to be measured it is 16 MB. Counts can be written and read (`--shard`, `--counts`): one JSONL record a
word, which add up to those of the whole text, since record number r belongs to shard r mod N.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, Literal, Protocol

import numpy as np

from seatools.streams.errors import SeaError
from seatools.streams.records import BadRecord, Record, dump
from seatools.vocab_extend.segments import Segments, known_char
from seatools.vocab_extend.word_counts import MAX_WORDS, Law, Splitter, WordCounts, count_words

Role = Literal["train", "protect", "parallel", "measure"]
ROLES: tuple[Role, ...] = ("train", "protect", "parallel", "measure")
SAMPLE_BYTES = 1 << 18
MEASURED_BYTES = 1 << 24  # of text that was given to be measured: two encodes at 1 to 3 MB/s a core
_HEADER = "word-counts"


class Base(Protocol):
    """What a kind of base tokenizer shows to the rest: `ByteLevelBase`, `CharLevelBase`, `RankLevelBase`."""

    tokenizer: Any
    first_id: int
    pieces: dict[int, str]
    taken: set[str]
    joins: dict[str, int] | None
    """Where concatenation decides what joins: pieces -> ids; None for a merge list."""
    law: Law
    seeds_are_merges: bool
    """Whether new characters are made of tokens (bytes) or appended."""

    def splitter(self, sample: list[str]) -> Splitter: ...
    def encode_words(self, words: list[str], workers: int = 0) -> Segments: ...
    def symbols(self, words: Segments, texts: list[str]) -> Segments: ...
    def base_rule(self, left: str, right: str, piece: str) -> bool: ...
    def data(self, piece: str) -> bytes: ...
    def spelling(self, data: bytes) -> str | None: ...
    def written(self, piece: str) -> str: ...


class Sample:
    """Evenly spaced documents of a stream, about `size` bytes of them."""

    def __init__(self, size: int = SAMPLE_BYTES) -> None:
        self.texts: list[str] = []
        self._size, self._stride, self._seen, self._bytes = size, 1, 0, 0

    def watch(self, texts: Iterable[str]) -> Iterator[str]:
        """Pass the documents on."""
        for text in texts:
            if self._seen % self._stride == 0:
                self.texts.append(text)
                self._bytes += len(text.encode())
                while self._bytes > self._size and len(self.texts) > 1:
                    self.texts = self.texts[::2]
                    self._stride *= 2
                    self._bytes = sum(len(text.encode()) for text in self.texts)
            self._seen += 1
            yield text


@dataclass
class Words:
    """The distinct words of one text with their tokens."""

    texts: list[str]
    counts: np.ndarray  # [words] int64
    ids: Segments
    """In the base's encoding."""
    symbols: Segments
    """The same as the learner takes them."""


@dataclass
class Corpus:
    """All text of a run."""

    words: dict[tuple[Role, str], WordCounts] = field(default_factory=dict)
    samples: dict[tuple[Role, str], list[str]] = field(default_factory=dict)
    splitter: Splitter | None = None

    def langs(self, role: Role) -> list[str]:
        """The languages of a role, in the order in which they were named."""
        return [lang for kind, lang in self.words if kind == role]

    def count(
        self,
        role: Role,
        lang: str,
        texts: Iterable[str],
        base: Base,
        *,
        name: str = "",
        max_words: int = MAX_WORDS,
        workers: int = 1,
    ) -> None:
        """Count `texts` under (role, lang)."""
        texts = iter(texts)
        first = list(islice(texts, 50))
        if self.splitter is None or role == "train":
            # Asked for every training text: its letters decide whether the fast way to cut is exact.
            self.splitter = base.splitter([text[:2000] for text in first])
        sample = Sample(MEASURED_BYTES if role == "measure" else SAMPLE_BYTES)
        counted = count_words(
            sample.watch(chain(first, texts)),
            self.splitter,
            by_document=role == "protect",
            name=name,
            max_words=max_words,
            workers=workers,
        )
        self.words.setdefault((role, lang), WordCounts()).add(counted)
        self.samples.setdefault((role, lang), []).extend(sample.texts)

    def encoded(self, role: Role, lang: str, base: Base, workers: int = 0) -> Words:
        """The distinct words of (role, lang) with the base's tokens."""
        counted = self.words[role, lang].counts
        texts = list(counted)
        ids = base.encode_words(texts, workers)
        counts = np.fromiter(counted.values(), np.int64, len(texts))
        return Words(texts, counts, ids, base.symbols(ids, texts))

    def records(self, digest: str, shard: str) -> Iterator[bytes]:
        """The counts as lines: a header for each text, then its words, the most frequent first."""
        for (role, lang), found in self.words.items():
            yield (
                dump(
                    {"sea": _HEADER, "role": role, "lang": lang, "tokenizer": digest, "shard": shard}
                    | {"docs": found.num_docs, "bytes": found.num_bytes, "dropped": found.dropped}
                )
                + b"\n"
            )
            for word, count in sorted(found.counts.items(), key=lambda item: (-item[1], item[0])):
                row: dict[str, Any] = {"word": word, "count": count}
                if role == "protect":
                    row["docs"] = found.docs[word]
                    if word in found.only:
                        row["doc"] = found.only[word]
                yield dump(row) + b"\n"

    def add_records(self, records: Iterable[Record], digest: str) -> None:
        """Add counts that `records` wrote; SeaError for another tokenizer's, and for repeated or missing shards."""
        part: WordCounts | None = None
        key: tuple[Role, str] | None = None
        seen: set[tuple[Any, ...]] = set()
        for record in records:
            value = record.value
            if value.get("sea") == _HEADER:
                self._finish(key, part)
                key, part = _header(record, digest, seen), WordCounts()
                part.num_docs, part.num_bytes, part.dropped = value["docs"], value["bytes"], value["dropped"]
                continue
            if part is None:
                raise SeaError(
                    "the file does not begin as word counts do", where=record.where, fix="sea vocab-extend --shard"
                )
            word = value["word"]
            part.counts[word] += value["count"]
            if "docs" in value:
                part.docs[word] = value["docs"]
            if "doc" in value:
                part.only[word] = value["doc"]
        self._finish(key, part)
        _check_shards(seen)

    def _finish(self, key: tuple[Role, str] | None, part: WordCounts | None) -> None:
        if key is not None and part is not None:
            self.words.setdefault(key, WordCounts()).add(part)
            self.samples.setdefault(key, [])


def check_counts(value: dict[str, Any]) -> None:
    """`check` of a RecordReader for files of word counts."""
    if value.get("sea") == _HEADER:
        names = {"role": str, "lang": str, "tokenizer": str, "shard": str, "docs": int, "bytes": int, "dropped": int}
        if any(type(value.get(name)) is not kind for name, kind in names.items()) or value["role"] not in ROLES:
            raise BadRecord("counts", "a header of word counts is malformed", fix="write the counts again with --shard")
        if not re.fullmatch(r"\d+/[1-9]\d*", value["shard"]):
            raise BadRecord("counts", "a header of word counts is malformed", fix="write the counts again with --shard")
    elif type(value.get("word")) is not str or type(value.get("count")) is not int or value["count"] < 1:
        raise BadRecord("counts", 'a line has no "word" and "count"', fix="these files come from --shard")


def _header(record: Record, digest: str, seen: set[tuple[Any, ...]]) -> tuple[Role, str]:
    value = record.value
    if value["tokenizer"] != digest:
        raise SeaError(
            "these words were counted with another tokenizer", where=record.where, fix="count again with this BASE"
        )
    name = (value["role"], value["lang"], value["shard"])
    if name in seen:
        raise SeaError(f"shard {value['shard']} of {value['lang']} comes twice", where=record.where, fix="give it once")
    seen.add(name)
    role: Role = value["role"]
    return role, value["lang"]


def _check_shards(seen: set[tuple[Any, ...]]) -> None:
    """SeaError unless the shards of each text are all of them: without one of them everything would look right."""
    for role, lang in sorted({name[:2] for name in seen}):
        shards = {name[2] for name in seen if name[:2] == (role, lang)}
        totals = {shard.partition("/")[2] for shard in shards}
        if len(totals) > 1:
            raise SeaError(
                f"the {role} text of {lang} is in shards of {' and of '.join(sorted(totals))}",
                fix="count all of it with the same N of --shard I/N",
            )
        total = totals.pop()
        missing = [f"{index}/{total}" for index in range(int(total)) if f"{index}/{total}" not in shards]
        if missing:
            raise SeaError(f"shard {missing[0]} of {lang} is missing", fix="give --counts the files of all shards")


def char_counts(words: Words, base: Base) -> Counter[str]:
    """Characters that the base has no token for -> occurrences in `words`."""
    chars: Counter[str] = Counter()
    if base.seeds_are_merges:
        spelled = {base.spelling(char.encode()) or "": char for char in _missing_characters(words.texts, base)}
        find = re.compile("|".join(map(re.escape, spelled)) or "(?!)").findall
        for text, count in zip(words.texts, words.counts.tolist(), strict=True):
            for char in find(text):
                chars[spelled[char]] += count
        return chars
    ids = words.symbols.ids
    odd = ids < -1
    weights = np.repeat(words.counts, words.symbols.lengths)[odd]
    symbols, inverse = np.unique(ids[odd], return_inverse=True)
    for symbol, count in zip(symbols.tolist(), np.bincount(inverse, weights, len(symbols)).tolist(), strict=True):
        chars[known_char(symbol)] += int(count)
    return chars


def _missing_characters(texts: list[str], base: Base) -> set[str]:
    found: set[str] = set()
    for start in range(0, len(texts), 10_000):
        joined = b"".join(base.data(text) for text in texts[start : start + 10_000])
        found |= set(joined.decode("utf-8", "ignore"))
    return {char for char in found if base.spelling(char.encode()) not in base.taken}
