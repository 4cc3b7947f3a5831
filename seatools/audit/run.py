"""One audit from options to report: load, analyse the vocabulary or count the text, write, check the limits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from seatools.audit.examples import Examples
from seatools.audit.gates import check_gates, parse_gates
from seatools.audit.intervals import Value
from seatools.audit.measures import MEASURES, Rates, TextCounts, measure
from seatools.audit.report import Report, config_of
from seatools.audit.segmenters import segmenter_for
from seatools.audit.sources import Labelled, batches, check_counts, load_tokenizers, split_arguments
from seatools.audit.text_pass import Audited, Extras, count
from seatools.audit.vocabulary import KINDS, VOCABULARY_MEASURES, analyse
from seatools.streams.errors import UsageError
from seatools.streams.extras import require
from seatools.streams.inputs import expand, refuse_repeats, same_file
from seatools.streams.manifest import Manifest
from seatools.streams.messages import Messages
from seatools.streams.outputs import check_output, open_output
from seatools.streams.progress import Progress
from seatools.streams.quarantine import rejects_policy
from seatools.text.language_tags import meant
from seatools.text.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class AuditOptions:
    """The command line."""

    sources: tuple[str, ...]
    """Tokenizers, then text."""
    reference: str | None = None
    """Parity with this language, whose text is parallel to the others'."""
    reference_tokenizer: str | None = None
    """The tokenizer of the reference; None: each its own."""
    fail_under: tuple[str, ...] = ()
    """"metric=value": exit 3 if a value is smaller."""
    fail_over: tuple[str, ...] = ()
    """The same for larger ones."""
    context: int | None = None
    """Tokens of a context window."""
    price: float | None = None
    """USD for a million tokens."""
    segment: bool = False
    """Words and syllables by segmenters."""
    identify: bool = False
    """The language of each document by CLD2."""
    list_kind: str | None = None
    """Of vocabulary.KINDS: print these tokens."""
    fast: bool = False
    """Encode with gigatoken."""
    pattern: str | None = None
    limit: int | None = None
    workers: int = 0
    on_error: str = "fail"
    quarantine: str | None = None
    output: str | None = None
    html: str | None = None
    """The report as a page."""
    force: bool = False
    form: Literal["table", "jsonl", "csv"] = "jsonl"
    """How the report is printed; an output's name may say csv."""

    def __post_init__(self) -> None:
        if self.price is not None and not (math.isfinite(self.price) and self.price >= 0):
            raise UsageError(f"--price {self.price}: not a price", fix="--price 2.5, in USD for a million tokens")
        if self.reference_tokenizer is not None and self.reference is None:
            raise UsageError("--reference-tokenizer needs --reference", fix="--reference en")
        if self.list_kind is not None and self.list_kind not in KINDS:
            raise UsageError(f'--list: no kind "{self.list_kind}"', fix=f"one of {', '.join(KINDS)}")
        if self.html == "-":
            raise UsageError("--html writes a file: the records go to stdout", fix="--html report.html")
        if self.html is not None and self.list_kind is not None:
            raise UsageError("--list prints tokens, which the page does not have", fix="one of --html and --list")
        if self.html is not None and self.output is not None and same_file(self.html, self.output):
            raise UsageError("--html and --output are the same file", fix="name two")


def run(options: AuditOptions, messages: Messages) -> None:
    """Errors: as the commands' (SeaError, UsageError); CheckFailed for a broken limit, after the report is out."""
    paths, texts = split_arguments(options.sources)
    gates = parse_gates(options.fail_under, options.fail_over, list(MEASURES if texts else VOCABULARY_MEASURES))
    for package in ["pycld2"] * options.identify + ["gigatoken"] * options.fast:
        require(package)
    _refuse_contradictions(options, texts)
    for lang, _ in texts:
        if options.segment and lang is not None:
            segmenter_for(lang)  # its package may be missing
    text_paths = [path for _, spec in texts for path in expand(spec)]
    refuse_repeats(text_paths)
    for out in (options.output, options.html):
        check_output(out, force=options.force, inputs=text_paths)
    named = [*paths, *([options.reference_tokenizer] if options.reference_tokenizer is not None else [])]
    loaded = load_tokenizers(named, options.pattern, messages)
    files = [file for tokenizer in loaded for file in tokenizer.files]
    for out in (options.output, options.html):
        check_output(out, force=options.force, inputs=files)
    manifest = Manifest("audit", options)
    report = Report()
    ready = [Audited(tokenizer, workers=options.workers, fast=options.fast) for tokenizer in loaded]
    examples = Examples()
    if texts:
        manifest.rejects = _texts(options, texts, paths, ready, report, examples, messages)
    else:
        _vocabularies(options, paths, loaded, report)
    inputs = [*text_paths, *map(str, files)]
    to_file = options.output not in (None, "-")
    if to_file:
        with open_output(options.output, force=options.force, inputs=inputs) as stream:
            report.write(stream, options.form, options.output)
    if options.html is not None:
        from seatools.audit.page import Page

        page = Page(report.records, dict(zip(paths, ready, strict=False)), examples.excerpts)
        with open_output(options.html, force=options.force, inputs=inputs) as stream:
            stream.write(page.html())
    if to_file or options.html is not None:  # before stdout, which may be a pipe that closes
        for file in files:
            manifest.add_input(file)
        for label, spec in texts:
            for path in [] if spec == "-" else expand(spec):
                manifest.add_input(path, lang=label)
        manifest.write(options.output, options.html)
    if options.form == "table" and options.list_kind is None:
        from seatools.audit.table import print_tables

        print_tables(report.records)
    elif not to_file:
        with open_output(options.output) as stream:
            report.write(stream, options.form, options.output)
    check_gates(gates, report.records)


def _refuse_contradictions(options: AuditOptions, texts: Sequence[Labelled]) -> None:
    if options.reference is not None and not any(lang == options.reference for lang, _ in texts):
        close = meant(options.reference, [lang for lang, _ in texts if lang is not None])
        fix = f"did you mean {close}?" if close else f"add {options.reference}=FILE"
        raise UsageError(f"--reference {options.reference}: no text has this label", fix=fix)
    if options.list_kind is not None and (texts or options.fail_under or options.fail_over):
        raise UsageError("--list prints tokens of a vocabulary: it takes no text and no limits")
    asked = [flag for flag in ("context", "price", "segment", "identify", "fast") if getattr(options, flag)]
    if asked and not texts:
        raise UsageError(f"--{asked[0]} needs text", fix="sea audit TOKENIZER th=thai.txt")


def _vocabularies(options: AuditOptions, paths: Sequence[str], tokenizers: Sequence[Tokenizer], report: Report) -> None:
    for path, tokenizer in zip(paths, tokenizers, strict=True):
        found = analyse(tokenizer)
        if options.list_kind is not None:
            for row in found.tokens(options.list_kind, tokenizer):
                report.records.append({"model": path, **row})
            continue
        config = config_of(tokenizer)
        for metric, value in found.values.items():
            report.add(path, config, None, metric, Value(value), None)
        for metric, scripts in (("script_tokens", found.scripts), ("script_dormant_tokens", found.dormant_scripts)):
            for script, number in scripts.items():
                report.add(path, config, None, metric, Value(number), None, script=script)


def _texts(
    options: AuditOptions,
    texts: Sequence[Labelled],
    paths: Sequence[str],
    ready: Sequence[Audited],
    report: Report,
    examples: Examples,
    messages: Messages,
) -> Mapping[str, int]:
    """Count and measure; returns the rejects by reason. `ready`: of `paths`, then of the reference, if it has one."""
    audited, judges = ready[: len(paths)], ready[len(paths) :]
    extras = Extras(identify=options.identify, segment=options.segment)
    with rejects_policy(options.on_error, options.quarantine, options.output, messages, force=options.force) as rejects:
        found = batches(texts, rejects, options.limit)
        found = found if options.html is None else examples.watched(found)
        with Progress("reading", quiet=messages.quiet) as progress:
            watched = _watched(found, progress)
            counts = count(watched, audited, extras, reference={str(options.reference): judge for judge in judges})
        check_counts(counts, texts, options.reference, rejects)
    _say_what_is_odd(counts, options, messages)
    rates = Rates(context=options.context, price=options.price)
    for path, one in zip(paths, audited, strict=True):
        for lang, text in counts.items():
            judge = (judges or [one])[0]
            reference = judge.tallies[options.reference] if options.reference is not None else None
            first = audited[0].tallies[lang] if one is not audited[0] else None
            values = measure(text, one.tallies[lang], reference=reference, first=first, rates=rates)
            for metric, value in values.items():
                more = _more(metric, options, text, paths[0])
                report.add(path, one.config, lang, metric, value, text.num_docs, **more)
    return rejects.counts


def _more(metric: str, options: AuditOptions, text: TextCounts, first_path: str) -> dict[str, Any]:
    """What belongs to one measure only, for its `config`."""
    if metric == "parity":
        other = options.reference_tokenizer
        return {"reference": options.reference} | ({"reference_tokenizer": other} if other is not None else {})
    if metric in ("drift", "token_change"):
        return {"against": first_path}
    if metric.startswith("context_"):
        return {"context": options.context}
    if metric.startswith("price"):
        return {"price": options.price}
    if text.segmenter is not None and ("segmented" in metric or "syllable" in metric):
        return {"segmenter": text.segmenter.name}
    return {}


def _watched(found: Iterable[tuple[str, list[str]]], progress: Progress) -> Iterator[tuple[str, list[str]]]:
    for lang, texts in found:
        progress.advance(len(texts), note=lang)
        yield lang, texts


def _say_what_is_odd(counts: Mapping[str, TextCounts], options: AuditOptions, messages: Messages) -> None:
    for lang, text in counts.items():
        if text.num_not_nfc:
            share = text.num_not_nfc / text.num_docs
            messages.warn(f"{lang}: {share:.1%} of the documents are not in NFC; most tokenizers expect it")
        if options.segment and text.segmenter is None and not text.is_spaced:
            hint = f"; did you mean {code}=FILE?" if (code := meant(lang)) else ""
            messages.warn(f"{lang}: no segmenter for this language, so no measure of its words{hint}")
