"""The cleaning of `sea clean` inside a mix: each source is cleaned while it is read, duplicates found across all.

What can stream is a stage of the reading (`source_reading.Stage`). Near duplicates and scores need every document
first: then all sources are read through once, what may stay waits in a private file, and the stage gives the survivors
instead of reading again. The language of records that do not say theirs is the source's `lang` (plan file), else its
name where that is a language tag (`th=FILE`).
Disk of those two passes, in the temporary folder: one copy of what may stay and one of the survivors, which the mix
reads from then on, and of stdin and compressed files a third, decompressed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import IO

from seatools.engine.deferred_scores import deferred_scores
from seatools.mix.document_store import DocumentStore, StoredFile
from seatools.mix.options import MixOptions
from seatools.mix.source_index import SourceIndex
from seatools.mix.source_reading import Stage
from seatools.streams.messages import Messages
from seatools.streams.progress import Progress
from seatools.streams.records import Rejects, check_training
from seatools.streams.source_specs import SourceSpec
from seatools.text.cleaning.cleaner import Cleaner
from seatools.text.cleaning.options import CleaningOptions
from seatools.text.scripts import scripts_of_language
from seatools.text.tokenizer import load_tokenizer


class SourceCleaning:
    """`with SourceCleaning(...) as cleaning:`, then for each source its `stage`, in order.

    `rejects` takes broken lines, `rejected` is the stream of `--rejects`, if any.
    """

    def __init__(
        self,
        options: MixOptions,
        store: DocumentStore,
        rejects: Rejects,
        rejected: IO[bytes] | None,
        *,
        workers: int,
        messages: Messages,
    ) -> None:
        self.options, self.store, self.rejects, self.messages = options, store, rejects, messages
        cleaning = options.cleaning or CleaningOptions()
        model, score = cleaning.score_with, None
        if model is not None:  # its tokenizer is opened now, so that a wrong path is no surprise after hours of reading
            score = deferred_scores(
                model, load_tokenizer(model), device=cleaning.device, workers=workers, quiet=messages.quiet
            )
        self.cleaner = Cleaner(cleaning, rejects=rejected, workers=workers, score=score)
        self._stack = contextlib.ExitStack()
        self._read: dict[str, tuple[list[StoredFile], int]] = {}

    def __enter__(self) -> SourceCleaning:
        with contextlib.ExitStack() as stack:  # closed here if reading raises, when __exit__ would not run
            stack.enter_context(self.cleaner)
            for warning in self.cleaner.warnings:
                self.messages.warn(warning)
            if self.cleaner.options.two_passes:
                for spec in self.options.sources:
                    self._read_through(spec)
                self.cleaner.settle()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stack.close()

    def stage(self, spec: SourceSpec) -> Stage:
        """What cleaning makes of the records of the source."""
        if self.cleaner.options.two_passes:
            return lambda _: self.cleaner.survivors(spec.name)
        return lambda records: self.cleaner.stream(records, declared_language(spec), spec.name)

    def complete(self, index: SourceIndex) -> SourceIndex:
        """The index with what its first reading found, where that was not the one that made it: the files, and the
        broken lines, which come on top of the records that tokenising refused."""
        if index.spec.name in self._read:
            index.stored_files, num_rejected = self._read[index.spec.name]
            index.num_rejected += num_rejected
        return index

    def _read_through(self, spec: SourceSpec) -> None:
        files_before, rejected_before = len(self.store.files), self.rejects.total
        with Progress(f"reading {spec.name}", quiet=self.messages.quiet) as progress:
            placed = self.store.records(
                [spec.glob], check=check_training, rejects=self.rejects, limit=self.options.limit
            )
            records = progress.counting(record for record, _ in placed)
            self.cleaner.read(spec.name, declared_language(spec), records)
        files = [file for file in self.store.files[files_before:] if file.is_input]
        self._read[spec.name] = files, self.rejects.total - rejected_before


def declared_language(spec: SourceSpec) -> str | None:
    """The language that a source says its documents are in, or None where it says none."""
    return spec.lang or (spec.name if scripts_of_language(spec.name) is not None else None)


def cleaned_away(cleaner: Cleaner, specs: Sequence[SourceSpec]) -> str | None:
    """The first source of which cleaning left nothing, with why; None if there is none."""
    for spec in specs:
        counts = cleaner.counts.get(spec.name)
        if counts is not None and counts.num_seen and not counts.num_seen - counts.rejected.total():
            reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted(counts.rejected.items()))
            return f"source {spec.name}: cleaning rejects all of its {counts.num_seen:,} documents ({reasons})"
    return None
