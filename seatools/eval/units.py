"""The work of a run in units, planned once from all requests of all tasks, whatever has been done of it already.

Only whole units are run, and one whose samples are all in the samples file is left out; so a run that was killed and
begun again computes exactly the batches of an unbroken one, and its results are equal to the byte. Scored documents are
put in the order of their tokens, in which shared beginnings stand together, and cut where at least UNIT_TOKENS new
tokens have gathered and the beginning that would have to be read again is a sixteenth of them at most. Prompts with
the same limits are cut into the generation engine's groups. Lost by a kill: one unit a process. Ranks and shards take
every Nth unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seatools.eval.requests import AnswerRequest, CountRequest, Request, ScoreRequest

UNIT_TOKENS = 32768
_REREAD = 16
_LARGER = 8
_COUNTED = 4096  # texts whose tokens are counted, by far the cheapest


@dataclass(frozen=True)
class Unit:
    """Requests that are computed together; `weight` is about what it costs, in tokens read."""

    requests: tuple[Request, ...]
    weight: int

    @property
    def is_scored(self) -> bool:
        return isinstance(self.requests[0], ScoreRequest)

    @property
    def is_counted(self) -> bool:
        """Whether the results are there without a model."""
        return isinstance(self.requests[0], CountRequest)


def plan_units(requests: Sequence[Request], *, larger: bool = False) -> list[Unit]:
    """Every request in one unit: those without a model, prompts to answer, texts to score.

    `larger`: groups for an engine that fills a GPU.
    """
    scored = [request for request in requests if isinstance(request, ScoreRequest)]
    asked = [request for request in requests if isinstance(request, AnswerRequest)]
    counted = [request for request in requests if isinstance(request, CountRequest)]
    parts = [tuple(counted[first : first + _COUNTED]) for first in range(0, len(counted), _COUNTED)]
    return [*(Unit(part, len(part)) for part in parts), *_answer_units(asked, larger), *_score_units(scored)]


def _score_units(requests: Sequence[ScoreRequest]) -> list[Unit]:
    keys = [np.asarray(request.docs[0][0]).astype(">u4").tobytes() for request in requests]
    units: list[Unit] = []
    own: list[ScoreRequest] = []
    size = 0
    for place in sorted(range(len(requests)), key=lambda place: keys[place]):
        request = requests[place]
        shared = _shared(own[-1].docs[0][0], request.docs[0][0]) if own else 0
        if own and size >= max(UNIT_TOKENS, _REREAD * shared):
            units.append(Unit(tuple(own), size))
            own, size, shared = [], 0, 0
        own.append(request)
        size += _new_tokens(request, shared)
    if own:
        units.append(Unit(tuple(own), size))
    return units


def _new_tokens(request: ScoreRequest, shared: int) -> int:
    """Tokens to be read where the first `shared` are read already, and each document shares with the one before it."""
    total, before = 0, None
    for ids, _ in request.docs:
        shared = shared if before is None else _shared(before, ids)
        total += max(len(ids) - shared, 1)
        before = ids
    return total


def _shared(one: np.ndarray, other: np.ndarray) -> int:
    length = min(len(one), len(other))
    different = np.asarray(one[:length]) != np.asarray(other[:length])
    first = int(different.argmax()) if length else 0
    return first if length and different[first] else length


def _answer_units(requests: Sequence[AnswerRequest], larger: bool) -> list[Unit]:
    if not requests:
        return []
    from seatools.engine.prompts import GROUP, prompt_groups

    by_limits: dict[tuple[tuple[str, ...], int, int], list[AnswerRequest]] = {}
    for request in requests:
        limits = (request.stop, request.max_new_tokens, request.num_turns)
        by_limits.setdefault(limits, []).append(request)
    units = []
    for limits in sorted(by_limits):
        own = by_limits[limits]
        for rows in prompt_groups([request.ids for request in own], size=_LARGER * GROUP if larger else GROUP):
            part = tuple(own[row] for row in rows)
            units.append(Unit(part, sum(map(answer_weight, part))))
    return units


def answer_weight(request: AnswerRequest) -> int:
    """Of one prompt. A new token costs about as much as four that are read: it is computed beside few others."""
    return (len(request.ids) + 4 * request.max_new_tokens) * request.num_turns
