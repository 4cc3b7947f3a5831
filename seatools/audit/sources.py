"""What the arguments name: which are tokenizers, which are text, the documents by language, and whether they fit."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence

from seatools.audit.measures import TextCounts
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.inputs import bare_suffix, parse_labelled, refuse_repeats
from seatools.streams.messages import Messages
from seatools.streams.records import RecordReader, Rejects, check_text
from seatools.text.tokenizer import Tokenizer, load_tokenizer

_BATCH_BYTES = 2 << 20
_TEXT_SUFFIXES = (".jsonl", ".ndjson", ".txt")

Labelled = tuple[str | None, str]
"""A label (or none) and a path, glob, folder, list or `-`."""


def split_arguments(arguments: Iterable[str]) -> tuple[list[str], list[Labelled]]:
    """Tokenizer paths, and (label, spec) of the text."""
    paths: list[str] = []
    texts: list[Labelled] = []
    for argument in arguments:
        lang, spec = parse_labelled(argument)
        is_text = spec == "-" or spec.startswith("@") or bare_suffix(spec) in _TEXT_SUFFIXES
        if lang is not None or (is_text and os.path.basename(spec) != "merges.txt"):
            texts.append((lang, spec))
        else:
            paths.append(spec)
    if not paths:
        raise UsageError("no tokenizer given, only text", fix="sea audit TOKENIZER th=thai.txt")
    refuse_repeats([spec for _, spec in texts if spec == "-"])
    return paths, texts


def load_tokenizers(paths: Sequence[str], pattern: str | None, messages: Messages) -> list[Tokenizer]:
    """Each path's tokenizer, its notes said. A pattern is for the files that have none."""
    tokenizers = []
    for path in paths:
        try:
            tokenizer = load_tokenizer(path, pattern=pattern)
        except UsageError:
            # Beside other tokenizers the pattern is not this one's.
            if pattern is None or len(paths) == 1:
                raise
            tokenizer = load_tokenizer(path)
        for note in tokenizer.notes:
            messages.warn(note)
        tokenizers.append(tokenizer)
    return tokenizers


def batches(texts: Iterable[Labelled], rejects: Rejects, limit: int | None) -> Iterator[tuple[str, list[str]]]:
    """Documents of one language at a time, about two megabytes."""
    for label, spec in texts:
        waiting: dict[str, list[str]] = {}
        size = 0
        for record in RecordReader(spec, check=check_text, rejects=rejects, limit=limit):
            own = record.value.get("lang")
            lang = label or (own if isinstance(own, str) and own else "und")
            waiting.setdefault(lang, []).append(record.value["text"])
            size += len(record.raw)
            if size >= _BATCH_BYTES:
                yield from waiting.items()
                waiting, size = {}, 0
        yield from waiting.items()


def check_counts(
    counts: Mapping[str, TextCounts], texts: Iterable[Labelled], reference: str | None, rejects: Rejects
) -> None:
    """SeaError for a label without text and, with a reference, for texts that are not line-parallel."""
    missing = [lang for lang, _ in texts if lang is not None and lang not in counts]
    if missing or not counts:
        raise SeaError(f"no text for {missing[0] if missing else 'any language'}", fix="the files hold no documents")
    if reference is None:
        return
    fix = "parity compares the same sentences: give files with the same records in the same order"
    if rejects.total:
        raise SeaError(f"{rejects.total} bad lines were dropped, so the texts are no longer parallel", fix=fix)
    wanted = counts[reference].num_docs
    for lang, text in counts.items():
        if text.num_docs != wanted:
            raise SeaError(f"{lang} has {text.num_docs:,} records and {reference} has {wanted:,}", fix=fix)
