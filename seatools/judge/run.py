"""A whole run: records to items to judgements to preferences.

Items are judged in units of whole records, UNIT items or a few more and cut by the input alone, so neither the number
of processes nor of shards nor a resumed run changes a byte; `--batch-tokens` may change the sixth decimal of a
log-odds, of which four are written. A check that fails writes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seatools.engine.world import World
from seatools.judge.filters import AnswerFilter
from seatools.judge.instructions import InstructionBook
from seatools.judge.judgements import RecordedJudgements
from seatools.judge.judges import Judge, LocalJudge, ServerJudge
from seatools.judge.labels import PAIRS as LABELS
from seatools.judge.labels import comparison_labels
from seatools.judge.options import Judging
from seatools.judge.pairs import (
    Choice,
    Comparison,
    Item,
    Rating,
    choose_compared,
    choose_rated,
    comparisons,
    lang_of,
    preference,
    ratings,
)
from seatools.judge.report import Consistency, require_consistency, tell, tell_rejected
from seatools.judge.rounds import judge_units
from seatools.judge.spin import gold_pairs
from seatools.judge.verdict import Verdict
from seatools.streams.errors import SeaError, UsageError
from seatools.streams.inputs import same_file, shown_together
from seatools.streams.manifest import Manifest
from seatools.streams.outputs import check_output, open_output
from seatools.streams.quarantine import rejects_policy
from seatools.streams.records import BadRecord, Record, RecordReader, Rejects, check_responses, dump
from seatools.streams.spool import spooled

UNIT = 64
_FITTING = 256  # items whose tokens are counted at a time


@dataclass(frozen=True)
class Entry:
    """A record and what is asked about it."""

    record: Record
    items: tuple[Item, ...]


def run_judge(judging: Judging, world: World) -> None:
    """Do all of it; the main process writes and prints."""
    inputs = [*([judging.model] if judging.model else []), *judging.paths]
    check_output(judging.output, force=judging.force, inputs=inputs)
    _check_kept(judging)
    on_error = judging.on_error if world.is_main or judging.on_error != "quarantine" else "skip"
    quarantine = judging.quarantine if world.is_main else None
    with (
        rejects_policy(on_error, quarantine, judging.output, judging.messages, force=judging.force,
                       dry_run=judging.dry_run) as rejects,
        spooled(judging.paths) as (files, stdin_digest),
    ):  # fmt: skip
        _Run(judging, world, rejects, files, stdin_digest).run()


def _check_kept(judging: Judging) -> None:
    if judging.judgements is None:
        return
    others = [*judging.paths, *([judging.output] if judging.output else [])]
    if any(other != "-" and same_file(judging.judgements, other) for other in others):
        raise UsageError("the file of --judgements is an input or the output", fix="name another")


class _Run:
    """What the steps of a run share."""

    def __init__(
        self, judging: Judging, world: World, rejects: Rejects, files: Sequence[str], stdin_digest: str | None
    ) -> None:
        self.judging, self.world, self.rejects, self.files = judging, world, rejects, files
        self.stdin_digest = stdin_digest
        self.messages = judging.messages
        # Records and pairs that are good input and yet not kept: counted and quarantined as bad lines are.
        self.dropped = Rejects("quarantine", rejects.quarantine)
        self.filtering = AnswerFilter(judging.filters)
        self.book = InstructionBook(judging.criteria, judging.criteria_lang)
        self.manifest = Manifest("judge", options=dict(judging.told))
        self.digest: str | None = None

    def run(self) -> None:
        if self.judging.mode == "spin":
            self._write_gold_pairs()
            return
        entries = self._entries()
        judge = self._judge()
        langs = {lang_of(entry.record) or "und" for entry in entries}
        words = {lang: self.book.of(None if lang == "und" else lang) for lang in sorted(langs)}
        self.manifest.options |= {"criteria": words}
        if isinstance(judge, LocalJudge):
            entries = self._fitting(entries, judge)
        if not any(entry.items for entry in entries):
            raise self._nothing("no pair of answers to judge")
        self._tell_plan(entries)
        if self.judging.dry_run:
            tell_rejected(self.dropped.counts, self.messages)
            return
        units = _units(entries)[self.judging.shard[0] :: self.judging.shard[1]]
        found = self._values(units, judge)
        if self.world.is_main:
            self._decide([entry for unit in units for entry in unit], found, judge)

    def _too_unequal(self, record: Record, one: int, other: int) -> bool:
        responses = record.value["responses"]
        return self.filtering.too_unequal(responses[one], responses[other])

    def _records(self) -> Any:
        """(record, usable answers) of the input; what is filtered is counted."""
        for record in RecordReader(self.files, check=check_responses, rejects=self.rejects, limit=self.judging.limit):
            usable, bad = self.filtering.usable(record)
            for reason, index in bad:
                self.dropped.refuse(record, BadRecord(reason, f"response {index}: {reason}"))
            yield record, usable
        if unnamed := self.filtering.num_without_lang:
            self.messages.warn(f"{unnamed:,} records name no language, so --lang-check passed them")

    def _entries(self) -> list[Entry]:
        entries = []
        for record, usable in self._records():
            items: list[Item] = []
            pointwise = self.judging.mode == "pointwise"
            made: Any = ratings(record, usable) if pointwise else comparisons(record, usable, self.judging.which)
            for item in made:
                if isinstance(item, BadRecord):
                    self.dropped.refuse(record, item)
                elif isinstance(item, Comparison) and self._too_unequal(record, item.i, item.j):
                    self.dropped.refuse(record, BadRecord("length ratio", f"responses {item.i} and {item.j}"))
                else:
                    items.append(item)
            if items:
                entries.append(Entry(record, tuple(items)))
        return entries

    def _judge(self) -> Judge:
        judging = self.judging
        if judging.recorded is not None:
            return RecordedJudgements(judging.recorded, judging.mode)
        if judging.judge_url is not None:
            from seatools.engine.openai_engine import Server

            assert judging.judge_model is not None
            server = Server(url=judging.judge_url, model=judging.judge_model)
            skips = judging.on_error != "fail"
            return ServerJudge(judging.judge_model, server, self.book, judging.judge_tokens, skips)
        return self._local_judge()

    def _local_judge(self) -> LocalJudge:
        from seatools.engine.load import open_model
        from seatools.streams.digests import folder_digest
        from seatools.text.documents import Documents, load_documents

        judging = self.judging
        assert judging.model is not None
        folder = judging.model
        documents = load_documents(
            folder, pattern=judging.pattern, chat_template=judging.chat_template, note=self.messages.debug
        )
        if judging.chat and documents.template is None:
            raise UsageError(f"--chat: {folder} has no chat template", fix="--chat-template FILE")
        if judging.chat is False:
            documents = Documents(documents.tokenizer)
        if not judging.dry_run:
            self.digest = self.world.first(folder_digest(folder) if self.world.is_main else None)

        def opened() -> Any:
            device = str(self.world.device) if self.world.size > 1 else judging.device
            vocab_size = documents.tokenizer.vocab_size
            return open_model(folder, device=device, dtype=judging.dtype, vocab_size=vocab_size, packing=False)

        name = (self.digest or "")[:16]
        return LocalJudge(name, documents, self.book, LABELS[0], judging.calibrated, opened, judging.batch_tokens)

    def _fitting(self, entries: Sequence[Entry], judge: LocalJudge) -> list[Entry]:
        """The entries with the items that the judge can read within its positions; labels are chosen first."""
        from seatools.engine.load import model_positions
        from seatools.judge.labels import check_template

        check_template(judge.documents)
        items = [item for entry in entries for item in entry.items]
        if self.judging.mode == "pairwise" and items:
            judge.labels, single = comparison_labels(judge.documents, judge.words(items))
            if not single:
                self.messages.warn(
                    "no two labels are one token each for this tokenizer: A and B are compared by all their tokens"
                )
        assert self.judging.model is not None
        positions = model_positions(Path(self.judging.model))
        if positions is None:
            return list(entries)
        sizes: list[int] = []
        for at in range(0, len(items), _FITTING):
            sizes += judge.longest_reading(items[at : at + _FITTING])
        found, at = [], 0
        for entry in entries:
            own = sizes[at : at + len(entry.items)]
            at += len(own)
            fits = tuple(item for item, size in zip(entry.items, own, strict=True) if size <= positions)
            for size in own:
                if size > positions:
                    what = f"{size:,} tokens to read"
                    self.dropped.refuse(entry.record, BadRecord(f"longer than the judge's {positions} positions", what))
            if fits and (isinstance(fits[0], Comparison) or len(fits) > 1):
                found.append(Entry(entry.record, fits))
        return found

    def _tell_plan(self, entries: Sequence[Entry]) -> None:
        count = sum(len(entry.items) for entry in entries)
        what = "pairs of answers" if self.judging.mode == "pairwise" else "answers"
        if self.book.lacking:
            self.messages.info(f"no criteria in {', '.join(sorted(self.book.lacking))}: the English ones are used")
        if self.judging.dry_run:
            readings = count * ((4 if self.judging.calibrated else 2) if self.judging.mode == "pairwise" else 1)
            self.messages.info(f"{count:,} {what}, {readings:,} readings; nothing is written")

    def _values(self, units: Sequence[Sequence[Entry]], judge: Judge) -> dict[int, np.ndarray]:
        """id(item) -> what the judge says of it."""
        asked = [[item for entry in unit for item in entry.items] for unit in units]
        said = judge_units(
            asked, judge, self.world, mode=self.judging.mode, settings=self._settings(judge),
            kept_path=self.judging.judgements, quiet=self.messages.quiet,
        )  # fmt: skip
        if isinstance(judge, ServerJudge) and judge.unread is not None:
            self.messages.warn(f"no verdict where the server said, for example: {_brief(judge.unread)}")
        return {
            id(item): value
            for items, values in zip(asked, said, strict=True)
            for item, value in zip(items, values, strict=True)
        }

    def _settings(self, judge: Judge) -> dict[str, Any]:
        found: dict[str, Any] = {"mode": self.judging.mode, "calibrate": self.judging.calibrated}
        if isinstance(judge, LocalJudge):
            from seatools.engine.device import pick_device, pick_dtype

            template = judge.documents.template
            device = self.world.device or pick_device(self.judging.device)
            found |= {
                "dtype": str(pick_dtype(self.judging.dtype, device)), "template": template.source if template else None,
            }  # fmt: skip
        if isinstance(judge, ServerJudge):
            found |= {"max_new_tokens": judge.max_new_tokens}
        return found

    def _decide(self, entries: Sequence[Entry], found: dict[int, np.ndarray], judge: Judge) -> None:
        """Preferences, the report, and the check, in this order of consequence: a failed check writes nothing."""
        lines: list[bytes] = []
        pairs: dict[str, int] = {}
        kept: dict[str, int] = {}
        verdicts: dict[str, list[Verdict]] = {}
        for entry in entries:
            lang = lang_of(entry.record) or "und"
            choices: list[Choice] = []
            if self.judging.mode == "pairwise":
                items = [item for item in entry.items if isinstance(item, Comparison)]
                said = [_verdict(found[id(item)]) for item in items]
                pairs[lang] = pairs.get(lang, 0) + len(items)
                verdicts.setdefault(lang, []).extend(verdict for verdict in said if verdict is not None)
                made: Any = choose_compared(items, said, self.judging.which, self.judging.min_margin)
                outcomes = [outcome for _, outcome in made]
            else:
                points = {item.i: float(found[id(item)][0]) for item in entry.items if isinstance(item, Rating)}
                outcomes = list(choose_rated(entry.record, points, self.judging.which, self.judging.min_margin))
                pairs[lang] = pairs.get(lang, 0) + len(outcomes)
            for outcome in outcomes:
                if isinstance(outcome, Choice):
                    # Pairs that were compared have passed this already; those of points are made only here.
                    if self._too_unequal(entry.record, outcome.best, outcome.worst):
                        outcome = "length ratio"
                    else:
                        choices.append(outcome)
                if isinstance(outcome, str):
                    self.dropped.refuse(entry.record, BadRecord(outcome, outcome))
            kept[lang] = kept.get(lang, 0) + len(choices)
            lines += [preference(entry.record, choice, judge.name) for choice in choices]
        if self.judging.mode == "pairwise":
            report = [
                Consistency(lang, pairs[lang], kept[lang], tuple(verdicts.get(lang, ()))) for lang in sorted(pairs)
            ]
            tell(report, self.dropped.counts, self.messages)
            require_consistency(report, self.judging.min_consistency)
            counts = {one.lang: one.record() for one in report}
        else:
            counts = {lang: {"pairs": pairs[lang], "kept": kept[lang]} for lang in sorted(pairs)}
            for lang in counts:
                self.messages.info(f"{lang}: {kept[lang]} of {pairs[lang]} pairs kept")
            tell_rejected(self.dropped.counts, self.messages)
        self._write(lines, counts)

    def _write_gold_pairs(self) -> None:
        lines: list[bytes] = []
        counts: dict[str, dict[str, Any]] = {}
        shard, num_shards = self.judging.shard
        for number, (record, usable) in enumerate(self._records()):
            if number % num_shards != shard:
                continue
            own = counts.setdefault(lang_of(record) or "und", {"pairs": 0, "kept": 0})
            for made in gold_pairs(record, usable, self.filtering):
                own["pairs"] += 1
                if isinstance(made, BadRecord):
                    self.dropped.refuse(record, made)
                else:
                    own["kept"] += 1
                    lines.append(made)
        if not lines:
            raise self._nothing("no pair of a gold answer and a response")
        counts = dict(sorted(counts.items()))
        for lang, own in counts.items():
            self.messages.info(f"{lang}: {own['kept']} of {own['pairs']} pairs kept")
        tell_rejected(self.dropped.counts, self.messages)
        if not self.judging.dry_run and self.world.is_main:
            self._write(lines, counts)

    def _write(self, lines: Sequence[bytes], counts: dict[str, Any]) -> None:
        judging = self.judging
        with open_output(judging.output, force=judging.force, inputs=judging.paths) as stream:
            for line in lines:
                stream.write(line + b"\n")
        if not lines:
            self.messages.warn("no pair is kept: the output is empty")
        if judging.output in (None, "-"):
            return
        self.manifest.counts = counts
        self.manifest.rejects = {**self.rejects.counts, **self.dropped.counts}
        if judging.model is not None:
            self.manifest.add_input(judging.model, self.digest)
        self.manifest.add_inputs(judging.paths, self.stdin_digest)
        for path in (judging.recorded, *(spec.rpartition("=")[2] for spec in judging.criteria)):
            if path is not None:
                self.manifest.add_input(path)
        self.manifest.write(judging.output)
        if judging.json:
            with open_output(None) as stream:
                for lang, own in counts.items():
                    stream.write(dump({"lang": lang, **own}) + b"\n")

    def _nothing(self, what: str) -> SeaError:
        reasons = {**self.rejects.counts, **self.dropped.counts}
        why = ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items())) or "no records"
        shorter = "--criteria-lang en, or a shorter --criteria FILE" if "longer than" in why else None
        return SeaError(f"{what} ({why})", where=shown_together(self.judging.paths), fix=shorter)


def _brief(said: str) -> str:
    text = " ".join(said.split())
    return f'"{text[:77]}..."' if len(text) > 80 else f'"{text}"'


def _verdict(values: np.ndarray) -> Verdict | None:
    forward, backward = values.tolist()
    return None if np.isnan(values).any() else Verdict(forward, backward)


def _units(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Entries in runs of at least UNIT items, but for the last."""
    found: list[list[Entry]] = []
    size = UNIT
    for entry in entries:
        if size >= UNIT:
            found.append([])
            size = 0
        found[-1].append(entry)
        size += len(entry.items)
    return found
