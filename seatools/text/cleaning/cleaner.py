"""Records cleaned: repaired, filtered and deduplicated, each reject counted by its reason and kept if asked for.

With nothing that must see all documents first, `stream` lets them through as they come, in bounded memory (16 bytes a
document for exact duplicates). Near duplicates and scores need all: `read` every source, `settle`, then take the
`survivors` of each; what that takes of memory and disk is told in docs/cleaning.md. The same input gives the same
output for any number of workers. This floor runs no model: whoever wants `score_with` gives the function that scores
(`engine/deferred_scores.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
import orjson

from seatools.streams.records import Record, with_keys
from seatools.text.cleaning.check_pool import CheckPool
from seatools.text.cleaning.document_checks import DocumentChecks
from seatools.text.cleaning.exact_duplicates import ExactDuplicates
from seatools.text.cleaning.near_duplicates import NearDuplicates
from seatools.text.cleaning.options import CleaningOptions
from seatools.text.cleaning.rejection import Rejection
from seatools.text.cleaning.repair import joined_text
from seatools.text.cleaning.score_thresholds import keep_by_quantile, shares_of
from seatools.text.cleaning.survivor_spool import SurvivorSpool
from seatools.text.identify import same_language

Score = Callable[[Iterable[str]], np.ndarray]
"""texts -> [docs] float32 bits per byte, nan where there is nothing to score."""
_NEAR_BATCH = 1024


@dataclass
class CleaningCounts:
    """Documents of one source."""

    num_seen: int = 0
    num_kept: int = 0
    num_changed: int = 0
    """Of those kept, the ones whose line came out with other bytes."""
    num_undeclared: int = 0
    """Those that say no language and whose source has none: `lang_check` let them pass unchecked."""
    rejected: Counter[str] = field(default_factory=Counter)
    """Reason -> documents."""

    def as_dict(self) -> dict[str, Any]:
        """For the manifest."""
        row: dict[str, Any] = {"seen": self.num_seen, "kept": self.num_kept, "changed": self.num_changed}
        if self.num_undeclared:
            row["undeclared"] = self.num_undeclared
        return row | {"rejected": dict(sorted(self.rejected.items()))}


class Cleaner:
    """`with Cleaner(options, ...) as cleaner:`; then `stream`, or `read`, `settle`, `survivors`.

    `rejects`: where rejected documents go, each with a last key `reject`; `score`: needed if the options say
    `score_with`; `folder`: for files that hold what is more than fits in memory. Errors: those of `DocumentChecks`.
    """

    def __init__(
        self,
        options: CleaningOptions,
        *,
        rejects: IO[bytes] | None = None,
        workers: int = 0,
        score: Score | None = None,
        folder: Path | None = None,
    ) -> None:
        if options.score_with is not None and score is None:
            raise ValueError("score_with needs the function that scores")
        self.options = options
        self.counts: dict[str, CleaningCounts] = {}
        """By source, in the order in which they were read."""
        self._rejects = rejects
        self._score = score
        self._folder = folder
        checks = DocumentChecks(options)
        self.warnings = checks.warnings
        self._pool = CheckPool(checks, workers)
        self._exact = ExactDuplicates() if options.exact else None
        self._near: NearDuplicates | None = None
        self._spool: SurvivorSpool | None = None
        self._kept: np.ndarray | None = None  # [docs of the spool] bool, once settled

    def __enter__(self) -> Cleaner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.close()
        if self._spool is not None:
            self._spool.close()

    def stream(self, records: Iterable[Record], lang: str | None = None, name: str = "input") -> Iterator[Record]:
        """What is kept of a source, as it comes. `lang`: of records that do not say theirs. ValueError if the options
        need two passes."""
        if self.options.two_passes:
            raise ValueError("near duplicates and scores need all documents first: read, settle, survivors")
        counts = self.counts.setdefault(name, CleaningCounts())
        for record, _, is_changed in self._first_pass(records, lang, name):
            counts.num_kept += 1
            counts.num_changed += is_changed
            yield record

    def read(self, name: str, lang: str | None, records: Iterable[Record]) -> None:
        """Read a source to its end; what may be kept waits in a private file."""
        if self._kept is not None:
            raise ValueError("read after settle")
        if self._spool is None:
            self._spool = SurvivorSpool(self._folder)
            if self.options.near is not None:
                self._near = NearDuplicates(threshold=self.options.near, folder=self._folder)
        texts: list[str] = []
        for record, tag, is_changed in self._first_pass(records, lang, name):
            self._spool.add(record, tag, name, is_changed=is_changed)
            if self._near is not None:
                texts.append(joined_text(record.value))
                if len(texts) == _NEAR_BATCH:
                    self._near.add(texts)
                    texts = []
        if self._near is not None and texts:
            self._near.add(texts)

    def settle(self) -> None:
        """Decide on all that was read: near duplicates first, then scores of what they leave.

        Raises UsageError, before anything is scored, for a language that `score_quantile` gives no share.
        """
        spool = self._spool
        kept = np.ones(len(spool) if spool is not None else 0, bool)
        if spool is not None and len(spool):
            ranked = self._ranked_languages(spool) if self._score is not None else None
            if self._near is not None:
                self._settle_near(spool, self._near, kept)
            self._near = None  # its signatures are of no more use
            if ranked is not None:
                self._settle_scores(spool, kept, *ranked)
            changed = spool.changed()
            for name, counts in self.counts.items():
                for run in spool.runs(name):
                    mine = kept[run.start : run.stop]
                    counts.num_kept += int(mine.sum())
                    counts.num_changed += int((mine & changed[run.start : run.stop]).sum())
        self._kept = kept

    def survivors(self, name: str) -> Iterator[Record]:
        """What is kept of a source, in its order."""
        if self._kept is None:
            raise ValueError("survivors before settle")
        if self._spool is not None:
            for run in self._spool.runs(name):
                yield from self._spool.records(np.flatnonzero(self._kept[run.start : run.stop]) + run.start)

    @property
    def rejected(self) -> Counter[str]:
        """Reason -> documents, of all sources."""
        return sum((counts.rejected for counts in self.counts.values()), Counter())

    def summary(self) -> str:
        """For the end of a run: "1,000 documents: 900 kept, 12 of them changed; 100 rejected (lang.v1 100)"."""
        seen = sum(counts.num_seen for counts in self.counts.values())
        kept = sum(counts.num_kept for counts in self.counts.values())
        changed = sum(counts.num_changed for counts in self.counts.values())
        told = f"{seen:,} documents: {kept:,} kept, {changed:,} of them changed; {self.rejected.total():,} rejected"
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted(self.rejected.items()))
        undeclared = sum(counts.num_undeclared for counts in self.counts.values())
        told += f" ({reasons})" if reasons else ""
        return told + (f"; {undeclared:,} name no language that can be checked" if undeclared else "")

    def _first_pass(
        self, records: Iterable[Record], lang: str | None, name: str
    ) -> Iterator[tuple[Record, str | None, bool]]:
        """What its own checks and exact duplicates leave: record, language, whether its bytes changed."""
        counts = self.counts.setdefault(name, CleaningCounts())
        for batch in self._pool.checked(records, lang):
            counts.num_seen += len(batch)
            keys = [checked.key for _, checked in batch if checked.key is not None]
            is_new = iter(self._exact.is_new(keys).tolist() if self._exact is not None and keys else ())
            for record, (raw, tag, key, rejection, is_undeclared) in batch:
                counts.num_undeclared += is_undeclared and self.options.lang_check
                if raw is not None:
                    record = Record(raw, orjson.loads(raw), record.path, record.line)
                if key is not None and not next(is_new):
                    rejection = Rejection("exact_duplicate.v1")
                if rejection is not None:
                    self._reject(record, name, rejection)
                else:
                    yield record, tag, raw is not None

    def _settle_near(self, spool: SurvivorSpool, near: NearDuplicates, kept: np.ndarray) -> None:
        originals = near.find()
        for number in map(int, np.flatnonzero(originals != np.arange(len(originals)))):
            kept[number] = False
            why = Rejection("near_duplicate.v1", detail=spool.record(int(originals[number])).where)
            self._reject(spool.record(number), spool.source(number), why)

    def _ranked_languages(self, spool: SurvivorSpool) -> tuple[np.ndarray, list[str], list[float]]:
        """Which language each document has, [docs] uint32; the languages; the share of each that is kept."""
        of_tags = [same_language(tag) for tag in spool.tags]
        langs = list(dict.fromkeys(of_tags))
        asked = {same_language(tag): share for tag, share in self.options.score_quantile.items() if tag}
        others = self.options.score_quantile.get("")
        shares = shares_of(langs, asked if others is None else dict.fromkeys(langs, others) | asked)
        return np.array([langs.index(lang) for lang in of_tags], np.uint32)[spool.tag_numbers()], langs, shares

    def _settle_scores(
        self, spool: SurvivorSpool, kept: np.ndarray, groups: np.ndarray, langs: list[str], shares: list[float]
    ) -> None:
        assert self._score is not None
        numbers = np.flatnonzero(kept)
        scores = self._score(joined_text(record.value) for record in spool.records(numbers))
        is_good = keep_by_quantile(scores, groups[numbers], shares)
        for place in np.flatnonzero(~is_good):
            number, score, group = int(numbers[place]), float(scores[place]), int(groups[numbers[place]])
            kept[number] = False
            value = round(score, 4) if score == score else "nan"
            why = Rejection("score.v1", value, f"{langs[group]}={shares[group]}")
            self._reject(spool.record(number), spool.source(number), why)

    def _reject(self, record: Record, name: str, rejection: Rejection) -> None:
        self.counts[name].rejected[rejection.reason] += 1
        if self._rejects is not None:
            why = rejection.as_dict() | {"source": name, "where": record.where}
            self._rejects.write(with_keys(record.raw, {"reject": why}) + b"\n")
