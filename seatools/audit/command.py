"""`sea audit`: which arguments are tokenizers and which are text, one pass over the text, one report."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seatools.streams.errors import SeaError, UsageError
from seatools.streams.flags import (
    Config,
    Debug,
    ErrorPolicy,
    Force,
    Json,
    Limit,
    OnError,
    Output,
    Pattern,
    Quarantine,
    Quiet,
    Verbose,
    Workers,
    new_app,
    prints_jsonl,
    run_app,
)
from seatools.streams.messages import Messages

if TYPE_CHECKING:
    from seatools.audit.measures import TextCounts, TokenCounts
    from seatools.streams.records import Rejects
    from seatools.text.tokenizer import Tokenizer

app = new_app()
_BATCH_BYTES = 2 << 20
_TEXT_SUFFIXES = (".jsonl", ".ndjson", ".txt")


@app.command()
def audit(
    sources: Annotated[
        list[str], typer.Argument(metavar="TOKENIZER... [[LANG=]TEXT...]", help="tokenizers, then text; - is stdin")
    ],
    reference: Annotated[
        str | None, typer.Option("--reference", metavar="LANG", help="parity with this language; line-parallel text")
    ] = None,
    fail_under: Annotated[
        list[str] | None, typer.Option("--fail-under", metavar="METRIC=X", help="exit 3 if a value is smaller")
    ] = None,
    fail_over: Annotated[
        list[str] | None, typer.Option("--fail-over", metavar="METRIC=X", help="exit 3 if a value is larger")
    ] = None,
    identify: Annotated[
        bool, typer.Option("--identify", help="also check that the text is in the language it is labelled with (lid)")
    ] = False,
    pattern: Pattern = None,
    output: Output = None,
    force: Force = False,
    json: Json = False,
    limit: Limit = None,
    workers: Workers = 0,
    on_error: OnError = ErrorPolicy.fail,
    quarantine: Quarantine = None,
    config: Config = None,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    debug: Debug = False,
) -> None:
    """How well tokenizers serve languages: bytes per token, fertility, parity, what they cannot spell.

    \b
    examples:
      sea audit MODEL th=thai.txt en=english.txt --reference en
      sea audit OLD NEW 'th=th/*.jsonl.zst' --fail-under bytes_per_token=6 --json

    Without text it describes the vocabulary. A path is text if it is labelled (th=...) or ends in .txt or .jsonl
    (.gz, .zst); everything else is a tokenizer. Unlabelled records go by their "lang".
    """
    from seatools.audit.gates import check_gates, parse_gates
    from seatools.audit.measures import MEASURES, measure
    from seatools.audit.vocabulary import summarise
    from seatools.streams.extras import require
    from seatools.streams.inputs import expand, refuse_repeats
    from seatools.streams.manifest import Manifest
    from seatools.streams.outputs import check_output, open_output
    from seatools.streams.quarantine import rejects_policy
    from seatools.streams.records import dump

    messages = Messages(quiet, verbose)
    if identify:
        require("pycld2")
    paths, texts = split_arguments(sources)
    vocabulary = ["vocab_size", "special_tokens", "byte_tokens", "incomplete_tokens", "unused_ids"]
    gates = parse_gates(fail_under or [], fail_over or [], list(MEASURES) if texts else vocabulary)
    if reference is not None and not any(lang == reference for lang, _ in texts):
        raise UsageError(f"--reference {reference}: no text has this label", fix=f"add {reference}=FILE")
    text_paths = [path for _, spec in texts for path in expand(spec)]
    refuse_repeats(text_paths)
    check_output(output, force=force, inputs=text_paths)
    tokenizers = _load(paths, pattern, messages)
    check_output(output, force=force, inputs=[path for tokenizer in tokenizers for path in tokenizer.files])
    manifest = Manifest("audit", options={"reference": reference, "pattern": pattern, "limit": limit})

    records: list[dict[str, Any]] = []

    def add(number: int, lang: str | None, metric: str, value: float, n: int | None, **more: Any) -> None:
        records.append(
            {"task": "audit", "lang": lang, "metric": metric, "value": value, "stderr": None, "n": n}
            | {"model": paths[number], "config": configs[number] | more}
        )

    configs = [
        {"tokenizer": tokenizer.digest(), "kind": tokenizer.kind, "vocab_size": tokenizer.vocab_size}
        for tokenizer in tokenizers
    ]
    if not texts:
        for number, tokenizer in enumerate(tokenizers):
            values, scripts = summarise(tokenizer)
            for metric, value in values.items():
                add(number, None, metric, value, None)
            for script, count in scripts.items():
                add(number, None, "script_tokens", count, None, script=script)
    else:
        with rejects_policy(on_error, quarantine, output, messages, force=force) as rejects:
            counts, by_tokenizer = _count(texts, tokenizers, rejects, limit, workers, identify)
            if reference is not None:
                _check_parallel(counts, reference, rejects)
        for lang, text in counts.items():
            if text.num_not_nfc:
                share = text.num_not_nfc / text.num_docs
                messages.warn(f"{lang}: {share:.1%} of the documents are not in NFC; most tokenizers expect it")
        for number, tallies in enumerate(by_tokenizer):
            for lang, text in counts.items():
                beside = tallies[reference] if reference is not None else None
                for metric, value in measure(text, tallies[lang], beside).items():
                    add(number, lang, metric, value, text.num_docs)
        manifest.rejects = rejects.counts

    if output is not None or prints_jsonl(json):
        with open_output(output, force=force, inputs=text_paths) as stream:
            for record in records:
                stream.write(dump(record) + b"\n")
        for tokenizer in tokenizers:
            for tokenizer_file in tokenizer.files:
                manifest.add_input(tokenizer_file)
        for label, spec in texts:
            for text_path in [] if spec == "-" else expand(spec):
                manifest.add_input(text_path, lang=label)
        manifest.write(output)
    else:
        from seatools.audit.table import print_tables

        print_tables(records)
    check_gates(gates, records)


def split_arguments(arguments: Iterable[str]) -> tuple[list[str], list[tuple[str | None, str]]]:
    """Tokenizer paths, and (label, spec) of the text."""
    from seatools.streams.inputs import bare_suffix, parse_labelled, refuse_repeats

    paths: list[str] = []
    texts: list[tuple[str | None, str]] = []
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


def _load(paths: list[str], pattern: str | None, messages: Messages) -> list[Tokenizer]:
    from seatools.text.tokenizer import load_tokenizer

    tokenizers = []
    for path in paths:
        try:
            tokenizer = load_tokenizer(path, pattern=pattern)
        except UsageError:
            # A pattern is for the files that have none; beside others it is not theirs.
            if pattern is None or len(paths) == 1:
                raise
            tokenizer = load_tokenizer(path)
        for note in tokenizer.notes:
            messages.warn(note)
        tokenizers.append(tokenizer)
    return tokenizers


def _batches(
    texts: list[tuple[str | None, str]], rejects: Rejects, limit: int | None
) -> Iterator[tuple[str, list[str]]]:
    """Documents of one language at a time, about two megabytes."""
    from seatools.streams.records import RecordReader, check_text

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


def _count(
    texts: list[tuple[str | None, str]],
    tokenizers: list[Tokenizer],
    rejects: Rejects,
    limit: int | None,
    workers: int,
    identify: bool,
) -> tuple[dict[str, TextCounts], list[dict[str, TokenCounts]]]:
    from seatools.audit.measures import TextCounts, TokenCounts

    counts: dict[str, TextCounts] = {}
    by_tokenizer: list[dict[str, TokenCounts]] = [{} for _ in tokenizers]
    for lang, batch in _batches(texts, rejects, limit):
        counts.setdefault(lang, TextCounts()).add(batch)
        if identify:
            counts[lang].identify(batch, lang)
        for tokenizer, tallies in zip(tokenizers, by_tokenizer, strict=True):
            tallies.setdefault(lang, TokenCounts()).add(batch, tokenizer, workers)
    missing = [lang for lang, _ in texts if lang is not None and lang not in counts]
    if missing or not counts:
        raise SeaError(f"no text for {missing[0] if missing else 'any language'}", fix="the files hold no documents")
    return counts, by_tokenizer


def _check_parallel(counts: dict[str, TextCounts], reference: str, rejects: Rejects) -> None:
    fix = "parity compares the same sentences: give files with the same records in the same order"
    if rejects.total:
        raise SeaError(f"{rejects.total} bad lines were dropped, so the texts are no longer parallel", fix=fix)
    wanted = counts[reference].num_docs
    for lang, text in counts.items():
        if text.num_docs != wanted:
            raise SeaError(f"{lang} has {text.num_docs:,} records and {reference} has {wanted:,}", fix=fix)


def main(argv: list[str]) -> int:
    return run_app(app, "audit", argv)
