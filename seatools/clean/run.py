"""One run of `sea clean`: the labelled inputs in turn, the kept records to the output, the others to `--rejects`."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, cast

from seatools.engine.deferred_scores import deferred_scores
from seatools.streams.errors import UsageError
from seatools.streams.inputs import parse_labelled, refuse_repeats
from seatools.streams.manifest import Manifest
from seatools.streams.messages import Messages
from seatools.streams.outputs import check_output, open_output, refuse_misnamed
from seatools.streams.progress import Progress
from seatools.streams.quarantine import refuse_shared_rejects, rejects_policy
from seatools.streams.records import Record, RecordReader, Rejects, check_training
from seatools.text.cleaning.cleaner import Cleaner
from seatools.text.cleaning.options import CleaningOptions
from seatools.text.language_tags import meant
from seatools.text.tokenizer import load_tokenizer


@dataclass(frozen=True, kw_only=True)
class CleanRun:
    """What the command line asks for."""

    cleaning: CleaningOptions
    texts: tuple[str, ...]
    """Paths, globs, folders, `@list`, `-`, each with a language before it or not: `th=FILE`."""
    output: str | None
    rejects: str | None
    limit: int | None
    workers: int
    on_error: str
    quarantine: str | None
    force: bool
    dry_run: bool


class _Source(RecordReader):
    """The files of one argument; stdin is hashed on the way."""

    def __init__(self, argument: str, rejects: Rejects, limit: int | None) -> None:
        self.argument = argument
        self.lang, spec = parse_labelled(argument)
        super().__init__(spec, check=check_training, rejects=rejects, limit=limit)
        self.sha256: str | None = None

    def _file(self, stream: IO[bytes], path: str) -> Iterator[Record]:
        if path != "-":
            yield from super()._file(stream, path)
            return
        hashed = _Hashed(stream)
        yield from super()._file(cast(IO[bytes], hashed), path)
        self.sha256 = hashed.total.hexdigest()


class _Hashed:
    def __init__(self, stream: IO[bytes]) -> None:
        self.stream, self.total = stream, hashlib.sha256()

    def readline(self, limit: int = -1) -> bytes:
        line = self.stream.readline(limit)
        self.total.update(line)
        return line


def run(options: CleanRun, messages: Messages) -> None:
    """Clean. Errors: SeaError; nothing is written then."""
    cleaning = options.cleaning
    output = "/dev/null" if options.dry_run else options.output
    rejects_path = None if options.dry_run else options.rejects
    refuse_misnamed(output)
    refuse_misnamed(rejects_path)
    manifest = Manifest("clean", options)
    with contextlib.ExitStack() as stack:
        bad_lines = stack.enter_context(
            rejects_policy(
                options.on_error, options.quarantine, output, messages, force=options.force, dry_run=options.dry_run
            )
        )
        sources = [_Source(argument, bad_lines, options.limit) for argument in options.texts]
        for source in sources if cleaning.lang_check else ():
            if source.lang is not None and (code := meant(source.lang)):
                raise UsageError(
                    f"{source.argument}: {source.lang} is no language code",
                    fix=f"did you mean {code}={source.argument.partition('=')[2]}?",
                )
        inputs = [path for source in sources for path in source.paths]
        refuse_repeats(inputs)
        used = cleaning.files_used()
        refuse_shared_rejects(rejects_path, output, bad_lines.quarantine_path)
        check_output(output, force=options.force, inputs=[*inputs, *used])
        check_output(rejects_path, force=options.force, inputs=[*inputs, *used])
        rejected: IO[bytes] | None = None
        if rejects_path is not None:
            rejected = stack.enter_context(open_output(rejects_path, force=options.force, inputs=inputs))
        model, workers, quiet = cleaning.score_with, options.workers, messages.quiet
        score = None
        if model is not None:  # its tokenizer is opened now, so that a wrong path is no surprise after hours of reading
            score = deferred_scores(model, load_tokenizer(model), device=cleaning.device, workers=workers, quiet=quiet)
        cleaner = stack.enter_context(Cleaner(cleaning, rejects=rejected, workers=workers, score=score))
        for warning in cleaner.warnings:
            messages.warn(warning)
        with (
            open_output(output, force=options.force, inputs=inputs) as stream,
            Progress("cleaning", quiet=quiet) as progress,
        ):
            for record in _cleaned(cleaner, sources, progress):
                stream.write(record.raw + b"\n")
    manifest.rejects = bad_lines.counts + cleaner.rejected
    manifest.counts = {name: counts.as_dict() for name, counts in cleaner.counts.items()}
    messages.info(cleaner.summary() + ("; nothing is written" if options.dry_run else ""))
    if not options.dry_run and (output not in (None, "-") or rejects_path is not None):
        for source in sources:
            manifest.add_inputs(source.paths, source.sha256)
        manifest.add_inputs(used)
        manifest.write(output, rejects_path)


def _cleaned(cleaner: Cleaner, sources: list[_Source], progress: Progress) -> Iterator[Record]:
    """The records that are kept, source by source."""
    if not cleaner.options.two_passes:
        for source in sources:
            yield from cleaner.stream(progress.counting(source), source.lang, source.argument)
        return
    for source in sources:
        cleaner.read(source.argument, source.lang, progress.counting(source))
    cleaner.settle()
    for source in sources:
        yield from cleaner.survivors(source.argument)
