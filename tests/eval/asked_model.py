"""Requests of a task on a tiny model, and their samples and scores, without the command line."""

from __future__ import annotations

from typing import Any

from seatools.eval.deactivation import Pass
from seatools.eval.engines import Engines
from seatools.eval.prepare import requests_of
from seatools.eval.report import score_records
from seatools.eval.requests import Request, Setup
from seatools.eval.samples import Sample
from seatools.eval.sources import Source
from seatools.eval.tasks import ask, pick_tasks
from seatools.eval.units import plan_units

COMMON: dict[str, Any] = {
    "model": "m", "model_digest": "0", "tokenizer_digest": "0", "dtype": "float32", "template_digest": None,
} | Pass().config  # fmt: skip


def requests(name: str, sources: list[Source], setup: Setup, shots: list[Source] | None = None) -> list[Request]:
    (task,) = pick_tasks([name])
    groups = ask(task, sources, shots or [], setup.options, rejects=setup.rejects)
    return [request for group in groups for request in requests_of(group, setup)]


def samples(model: Any, asked: list[Request], setup: Setup) -> list[Sample]:
    """In the order of the requests."""
    engines = Engines(setup, engine="own", device="cpu", dtype="fp32", name="m")
    engines._model = model
    found = {}
    for unit in plan_units(asked):
        for request, result in zip(unit.requests, engines.results(unit, lambda n: None), strict=True):
            found[id(request)] = request.sample(COMMON, result)
    return [found[id(request)] for request in asked]


def scores(model: Any, asked: list[Request], setup: Setup) -> dict[str, dict[str, Any]]:
    """Metric -> its record, of one language."""
    return {row["metric"]: row for row in score_records(samples(model, asked, setup), setup.options)}
