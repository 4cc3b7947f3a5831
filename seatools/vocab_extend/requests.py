"""What the command was asked for, and the three things it does: count a shard, plan (`--dry-run`), extend.

Text is read once, record by record, from wherever it comes; what stays are counts and a sample (`corpus.py`).
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seatools.streams.errors import SeaError, UsageError
from seatools.streams.inputs import expand, parse_labelled, refuse_repeats
from seatools.streams.manifest import Manifest
from seatools.streams.messages import Messages
from seatools.streams.outputs import check_output, open_output, output_folder, write_atomic
from seatools.streams.progress import Progress
from seatools.streams.quarantine import rejects_policy
from seatools.streams.records import RecordReader, Rejects, check_text, dump
from seatools.streams.shards import parse_shard
from seatools.streams.sizes import parse_count
from seatools.streams.spool import spooled
from seatools.streams.stage import stage
from seatools.text.folder import refuse_text
from seatools.text.scripts import known_scripts
from seatools.text.text_warnings import TextChecks, normaliser
from seatools.text.tokenizer import Tokenizer, load_tokenizer
from seatools.vocab_extend.budget import Target
from seatools.vocab_extend.corpus import Base, Corpus, Role, check_counts
from seatools.vocab_extend.drift import changes_of_cutting, expected_drift, measured_drift
from seatools.vocab_extend.existing_tokens import EXISTING_TOKENS, existing_tokens
from seatools.vocab_extend.extension import (
    NO_LIMIT,
    ExtendOptions,
    Extension,
    extend,
    learn,
    open_base,
    with_pre_tokenizer,
)

_COMMA = re.compile(r",(?=[A-Za-z][A-Za-z0-9_.-]*=)")  # before the next label only: a name may have one
_SHARD = re.compile(r"(\d+)/(\d+)")


@dataclass(frozen=True, kw_only=True)
class Request:
    """The command line. `more`: options that go to `ExtendOptions` as they are."""

    base: str
    output: Path
    texts: list[str]
    protect: list[str] = field(default_factory=list)
    measure: list[str] = field(default_factory=list)
    parallel: list[str] = field(default_factory=list)
    counts: list[str] = field(default_factory=list)
    add: str | None = None
    until: list[str] = field(default_factory=list)
    weights: str | None = None
    scripts: str = "auto"
    trained_size: str = "25000"
    max_words: str = "8M"
    pattern: str | None = None
    normalize: str = "none"
    shard: str | None = None
    limit: int | None = None
    workers: int = 0
    force: bool = False
    dry_run: bool = False
    on_error: str = "fail"
    quarantine: str | None = None
    report: str | None = None
    more: dict[str, Any] = field(default_factory=dict)

    def sources(self) -> list[tuple[Role, str, str]]:
        """(role, language, spec) of everything to read."""
        by_role: list[tuple[Role, list[str]]] = [
            ("train", self.texts),
            ("protect", [part for text in self.protect for part in _COMMA.split(text)]),
            ("parallel", [part for text in self.parallel for part in _COMMA.split(text)]),
            ("measure", [part for text in self.measure for part in _COMMA.split(text)]),
        ]
        return [(role, lang or "und", spec) for role, specs in by_role for lang, spec in map(parse_labelled, specs)]

    def inputs(self) -> list[str]:
        """Every file to read."""
        specs = [spec for _, _, spec in self.sources() if spec != "-"] + self.counts
        return [path for spec in specs for path in expand(spec)]

    def options(self) -> ExtendOptions:
        """The options, checked."""
        if self.add is None and not self.until:
            raise UsageError("how many tokens?", fix="--add 16K, or --until bytes-per-token=6")
        langs = {lang for role, lang, _ in self.sources() if role == "train"}
        weights = _weights(self.weights)
        strange = sorted(weights.keys() - langs) if langs else []
        if strange:
            raise UsageError(
                f"--weights names {strange[0]}, for which there is no text", fix=f"one of {', '.join(sorted(langs))}"
            )
        if langs and not any(weights.get(lang, 1.0) for lang in langs):
            raise UsageError("--weights leaves no language a token", fix="give one of them more than 0")
        return ExtendOptions(
            add=NO_LIMIT if self.add is None else parse_count(self.add),
            until=tuple(map(Target.parse, self.until)),
            weights=weights,
            scripts=_scripts(self.scripts),
            trained_size=parse_count(self.trained_size),
            **self.more,
        )


def _scripts(text: str) -> tuple[str, ...] | None:
    if text in ("auto", "any"):
        return () if text == "auto" else None
    names = tuple(name.strip().capitalize() for name in text.split(","))
    known = known_scripts()
    for name in names:
        if name not in known:
            raise UsageError(f'--scripts: no writing system "{name}"', fix="auto, any, or names as Thai,Lao,Latin")
    return names


def _weights(text: str | None) -> dict[str, float]:
    weights: dict[str, float] = {}
    for part in [] if text is None else text.split(","):
        lang, _, value = part.partition("=")
        try:
            weights[lang.strip()] = float(value)
        except ValueError:
            raise UsageError(f'--weights: "{part}" is no LANG=NUMBER', fix="--weights th=2,lo=1") from None
    return weights


@dataclass
class Opened:
    """A request with its base open and its text counted."""

    tokenizer: Tokenizer
    base: Base
    pre_tokenizer: dict[str, Any] | None
    corpus: Corpus
    manifest: Manifest
    rejects: Rejects


@contextmanager
def opened(request: Request, messages: Messages, options: ExtendOptions | None) -> Iterator[Opened]:
    """Open the base and count all text. `options`: None for a shard, which has none."""
    refuse_text(Path(request.base))
    sources = request.sources()
    refuse_repeats([spec for *_, spec in sources if spec == "-"])
    refuse_repeats([path for role, _, spec in sources if role == "train" for path in expand(spec)])
    check_output(request.output, force=request.force, inputs=[request.base, *request.inputs()])
    if request.report not in (None, "-"):
        check_output(request.report, force=request.force, inputs=[request.base, *request.inputs()])
    tokenizer = load_tokenizer(request.base, pattern=request.pattern)
    for note in tokenizer.notes:
        messages.warn(note)
    marks = request.more.get("pretokenizer") == "marks"
    section = None
    if marks:
        from seatools.text.marks import pre_tokenizer_with_marks

        section = pre_tokenizer_with_marks(tokenizer)
    cut = tokenizer if section is None else with_pre_tokenizer(tokenizer, section)
    base = open_base(cut, unigram=bool(request.more.get("unigram")))
    manifest = Manifest("vocab-extend", options=options or {"shard": request.shard}, seed=request.more.get("seed"))
    for file in tokenizer.files:
        manifest.add_input(file)
    policy = rejects_policy(
        request.on_error, request.quarantine, request.output, messages, force=request.force, dry_run=request.dry_run
    )
    with policy as rejects:
        corpus = Corpus()
        _read(request, sources, base, corpus, manifest, rejects, messages)
        _add_counts(request, cut.digest(), corpus, manifest)
        if not corpus.langs("train"):
            raise UsageError("no text to learn from", fix="th=FILE, or --counts FILE")
        yield Opened(tokenizer, base, section, corpus, manifest, rejects)


def _read(
    request: Request,
    sources: list[tuple[Role, str, str]],
    base: Base,
    corpus: Corpus,
    manifest: Manifest,
    rejects: Rejects,
    messages: Messages,
) -> None:
    normalize = normaliser(request.normalize)
    index, total = parse_shard(request.shard)
    for role, lang in dict.fromkeys((role, lang) for role, lang, _ in sources):
        specs = [spec for kind, label, spec in sources if (kind, label) == (role, lang)]
        checks = TextChecks(lang)
        with (
            spooled(specs) as (paths, digest),
            Progress(f"counting {lang}", total=_num_bytes(paths), unit="B", quiet=messages.quiet) as progress,
        ):

            def texts(
                paths: list[str] = paths, checks: TextChecks = checks, progress: Progress = progress
            ) -> Iterator[str]:
                reader = RecordReader(paths, check=check_text, rejects=rejects, limit=request.limit)
                for number, record in enumerate(reader):
                    progress.advance(len(record.raw) + 1)
                    if number % total != index:
                        continue
                    text = normalize(record.value["text"])
                    checks.add(text)
                    yield text

            name = "" if request.shard is None else f"{index}:"
            most = parse_count(request.max_words)
            corpus.count(role, lang, texts(), base, name=name, max_words=most, workers=request.workers)
        if digest is not None:
            manifest.add_input("-", digest, lang=lang)
        for spec in specs:
            for path in [] if spec == "-" else expand(spec):
                manifest.add_input(path, lang=lang)
        if not corpus.words[role, lang].num_docs and request.shard is None:
            raise SeaError(f"no text for {lang}", fix="check the files; empty lines are no documents")
        for warning in checks.warnings():
            messages.warn(warning)
        found = corpus.words[role, lang]
        if found.dropped:
            share = found.dropped / (found.dropped + found.counts.total())
            messages.warn(f"{lang}: rare words, {share:.1%} of all, were dropped to bound memory (--max-words)")


def _num_bytes(specs: list[str]) -> int | None:
    """How much there is to read; None where compression hides it."""
    paths = expand(specs)
    return None if any(path.endswith((".gz", ".zst")) for path in paths) else sum(map(os.path.getsize, paths))


def _add_counts(request: Request, digest: str, corpus: Corpus, manifest: Manifest) -> None:
    if not request.counts:
        return
    paths = expand(request.counts)
    corpus.add_records(RecordReader(paths, check=check_counts), digest)
    manifest.add_inputs(paths)


def count_shard(request: Request, messages: Messages) -> None:
    """`--shard I/N`: write the counts of every N-th record."""
    if request.counts:
        raise UsageError("--shard writes counts and --counts reads them", fix="give one of the two")
    with opened(request, messages, None) as run:
        digest = run.base.tokenizer.digest()
        with open_output(request.output, force=request.force, inputs=request.inputs()) as stream:
            for line in run.corpus.records(digest, str(request.shard)):
                stream.write(line)
    run.manifest.counts = {
        f"{role} {lang}": {"docs": found.num_docs, "bytes": found.num_bytes, "words": len(found.counts)}
        for (role, lang), found in run.corpus.words.items()
    }
    run.manifest.rejects = run.rejects.counts
    run.manifest.write(request.output)


def run_plan(request: Request, messages: Messages) -> None:
    """`--dry-run`: learn, and say what would be added."""
    options = request.options()
    with opened(request, messages, options) as run:
        _, _, learned, _ = learn(run.base, run.corpus, options, workers=request.workers, messages=messages)
    size = sum(run.corpus.words["train", lang].num_bytes for lang in run.corpus.langs("train"))
    first = run.tokenizer.vocab_size
    last = first + len(learned.tokens) - 1
    messages.info(
        f"{run.tokenizer.kind} base, {size:,} bytes of text: would add {len(learned.tokens):,} tokens, ids "
        f"{first:,} to {last:,}, to {request.output}; nothing is written"
    )


def run_extension(request: Request, messages: Messages) -> None:
    """Extend, check, write, and say what came of it."""
    from seatools.vocab_extend.report import report
    from seatools.vocab_extend.summary import say

    options = request.options()
    with opened(request, messages, options) as run:
        corpus = run.corpus
        with output_folder(request.output, force=request.force, inputs=[request.base, *request.inputs()]) as folder:
            extension = extend(
                run.tokenizer,
                run.base,
                corpus,
                options,
                folder,
                pattern=request.pattern,
                pre_tokenizer=run.pre_tokenizer,
                workers=request.workers,
                messages=messages,
            )
            with stage("measuring", messages.quiet):
                found = _measured(request, run, extension, folder)
            body = report(run.tokenizer, extension, corpus, options, **found)
    run.manifest.counts = body
    run.manifest.rejects = run.rejects.counts
    run.manifest.write(request.output)
    if request.report == "-":
        with open_output(None) as stream:
            stream.write(dump(body) + b"\n")
    elif request.report is not None:
        write_atomic(Path(request.report), dump(body) + b"\n")
    say(body, options, messages)


def _measured(request: Request, run: Opened, extension: Extension, folder: Path) -> dict[str, Any]:
    """Drift of protected, measured and recut text, and the list of old tokens, written into `folder`."""
    corpus, workers = run.corpus, request.workers
    before, extended = extension.before, extension.extended
    expected = {
        lang: expected_drift(words, corpus.words["protect", lang], extension.refused)
        for lang, words in extension.protected.items()
    }
    measured = {
        lang: measured_drift(before, extended, corpus.samples["measure", lang], workers)
        for lang in corpus.langs("measure")
    }
    cutting = {}
    same_cutting = run.pre_tokenizer is None
    if not same_cutting:
        samples = {lang: texts for (_, lang), texts in corpus.samples.items()}
        cutting = changes_of_cutting(run.tokenizer, before, samples, workers)
    old = run.base if same_cutting else open_base(run.tokenizer)
    rows = list(existing_tokens(run.tokenizer, old, extended, same_cutting=same_cutting))
    (folder / EXISTING_TOKENS).write_bytes(b"".join(dump(row) + b"\n" for row in rows))
    existing = dict(sorted(Counter(row["reason"] for row in rows).items()))
    return {"expected": expected, "measured": measured, "cutting": cutting, "existing": existing}
