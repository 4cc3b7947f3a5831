"""Scores as a pure function of samples: no model, no clock, no order; the same samples give the same bytes.

Samples of one task, language and config are a group; a group's items are put in order of their digests before anything
is drawn, and sums are exact, so shards in any order end in one result. Where several languages share a task and
settings, a record of language "mean" follows: the unweighted mean (papers.md 2.7), languages taken as independent.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

from seatools.eval.figures import Figure
from seatools.eval.resampling import RESAMPLES, estimate, mean_over
from seatools.eval.samples import UNKEYED, Sample, keyed
from seatools.eval.scoring import SCORINGS, Scoring, scoring_of
from seatools.streams.errors import SeaError

MEAN = "mean"
"""The language of a mean over languages."""


@dataclass
class Group:
    """The samples of one task, language and config, as rows."""

    task: str
    lang: str
    scoring_name: str
    config: dict[str, Any]
    items: list[str] = field(default_factory=list)
    flat: list[array[float]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def model(self) -> str:
        return str(self.config.get("model") or "")

    @property
    def scoring(self) -> Scoring:
        return SCORINGS[self.scoring_name]

    def add(self, sample: Sample) -> None:
        try:
            rows, counts = self.scoring.read(sample)
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            what = f"{self.task}, {self.lang}, item {sample.index}: its result is none of scoring {self.scoring_name}"
            raise SeaError(f"{what} ({str(error)[:100]})", fix="give files of sea eval --samples") from error
        if not self.flat:
            self.flat = [array("d") for _ in rows]
        for flat, row in zip(self.flat, rows, strict=True):
            known = len(flat) // len(self.items) if self.items else len(row)
            if len(row) != known:
                raise SeaError(f"{self.task}, {self.lang}: item {sample.index} has another number of choices")
            flat.extend(row)
        self.items.append(sample.item)
        self.counts.update(counts)
        if _spelling(sample.config) < _spelling(self.config):  # the same one, in whatever order they come
            self.config = sample.config

    def table(self, figure: int) -> np.ndarray:
        """[items, k] float64 in order of the items' digests."""
        order = np.argsort(np.array(self.items))
        return np.frombuffer(self.flat[figure], dtype=np.float64).reshape(len(self.items), -1)[order]

    def ordered(self) -> list[str]:
        """The items' digests in the order of `table`."""
        return sorted(self.items)


def _spelling(config: dict[str, Any]) -> bytes:
    return orjson.dumps([config.get(key) for key in UNKEYED])


def collect(samples: Iterable[Sample]) -> list[Group]:
    """The groups of samples, in order of task, language and config. Raises SeaError for an item twice in a group."""
    groups: dict[tuple[str, str, str, bytes], Group] = {}
    for sample in samples:
        scoring_of(sample)
        name = (sample.task, sample.lang, sample.scoring, keyed(sample.config))
        group = groups.get(name)
        if group is None:
            group = groups[name] = Group(sample.task, sample.lang, sample.scoring, sample.config)
        group.add(sample)
    for group in groups.values():
        twice = [item for item, count in Counter(group.items).items() if count > 1]
        if twice:
            raise SeaError(f"{group.task}, {group.lang}: {len(twice)} items stand twice under one config ({twice[0]})")
    return [groups[name] for name in sorted(groups)]


def run_config(config: dict[str, Any]) -> dict[str, Any]:
    """A config as a score record shows it: without the model's path, which stands beside, and without what is None."""
    return {key: value for key, value in config.items() if key != "model" and value is not None}


def scores(groups: Iterable[Group], *, seed: int = 0, resamples: int = RESAMPLES) -> list[dict[str, Any]]:
    """The score records of DESIGN: task, lang, metric, value, stderr, n, model, config."""
    records: list[dict[str, Any]] = []
    families: dict[tuple[str, str, bytes], list[Group]] = {}
    for group in groups:
        families.setdefault((group.task, group.scoring_name, _across_langs(group.config)), []).append(group)
    for family in families.values():
        by_metric: dict[str, list[dict[str, Any]]] = {}
        for group in family:
            for place, figure in enumerate(group.scoring.figures):
                record = _record(group, place, figure, seed, resamples)
                records.append(record)
                by_metric.setdefault(figure.metric, []).append(record)
        if len(family) > 1 and family[0].scoring.comparable:
            records.extend(_mean_record(own) for own in by_metric.values())
    return records


def _across_langs(config: dict[str, Any]) -> bytes:
    """The settings that languages share: a task's files and shots differ with the language."""
    kept = {key: value for key, value in config.items() if key not in ("task_digest", "shots_digest")}
    return keyed(kept | {"task_digest": None})


def _record(group: Group, place: int, figure: Figure, seed: int, resamples: int) -> dict[str, Any]:
    found = estimate(figure, group.table(place), resamples=resamples, seed=seed)
    config = run_config(group.config) | {"scoring": group.scoring_name} | dict(sorted(group.counts.items()))
    config |= group.scoring.derived(group.counts) | group.scoring.facts(figure.metric)
    if not figure.is_ratio:
        config |= {"resamples": resamples, "seed": seed}
    return {
        "task": group.task, "lang": group.lang, "metric": figure.metric,
        "value": found.value if np.isfinite(found.value) else None, "stderr": found.stderr,
        "n": len(group.items), "model": group.model, "config": config,
    }  # fmt: skip


def _mean_record(records: list[dict[str, Any]]) -> dict[str, Any]:
    usable = [record for record in records if record["value"] is not None]
    first = records[0]
    found = (
        mean_over([record["value"] for record in usable], [record["stderr"] for record in usable]) if usable else None
    )
    same = {
        key: value for key, value in first["config"].items()
        if all(record["config"].get(key) == value for record in records)
    }  # fmt: skip
    return {
        "task": first["task"], "lang": MEAN, "metric": first["metric"],
        "value": found.value if found else None, "stderr": found.stderr if found else None,
        "n": sum(record["n"] for record in records), "model": first["model"],
        "config": same | {"langs": [record["lang"] for record in records]},
    }  # fmt: skip


def as_jsonl(records: Iterable[dict[str, Any]]) -> bytes:
    """A record a line."""
    return b"".join(orjson.dumps(record) + b"\n" for record in records)


def as_json(records: Iterable[dict[str, Any]]) -> bytes:
    """One JSON array, a record a line."""
    return b"[\n" + b",\n".join(orjson.dumps(record) for record in records) + b"\n]\n"
