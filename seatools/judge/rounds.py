"""The judging itself: units of items, one a process and round, resumed from the file where they are kept.

After each round all processes know what was said, since each adds its own unit to zeros, and the main one keeps it.
Processes wait for each other at the end of a round; units hold the same number of items, so the wait is short.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from seatools.engine.world import World
from seatools.judge.judgements import WIDTHS, KeptJudgements, Values, item_key, judgement_line
from seatools.judge.judges import Judge
from seatools.judge.pairs import Item
from seatools.streams.progress import Progress


def judge_units(
    units: Sequence[Sequence[Item]], judge: Judge, world: World, *, mode: str, settings: Mapping[str, Any],
    kept_path: str | None, quiet: bool,
) -> list[np.ndarray]:  # fmt: skip
    """For each unit what the judge says of its items, [items, 2] (pairwise) or [items, 1] float64; NaN: nothing.

    `kept_path`: the file in which judgements are kept; a unit that is there whole is not judged again.
    """
    found: list[np.ndarray] = []
    width = WIDTHS[mode]
    with contextlib.ExitStack() as stack:
        what = "pairs" if mode == "pairwise" else "answers"
        progress = stack.enter_context(Progress("judging", sum(map(len, units)), what, quiet or not world.is_main))
        kept: KeptJudgements | None = None
        if kept_path is not None and world.is_main:
            kept = KeptJudgements(kept_path)
            stack.enter_context(kept)
        for at in range(0, len(units), world.size):
            together = units[at : at + world.size]
            keys = [
                [item_key(item, judge, settings) for item in items] if kept is not None else [] for items in together
            ]
            known = [_known(own, kept) for own in keys]
            if world.size > 1:  # what the main process found in its file is what all go on with
                known = world.first(known if world.is_main else None) or known
            values = _round(together, known, judge, world, width)
            for items, own, said in zip(together, keys, values, strict=True):
                if kept is not None:
                    for item, key, value in zip(items, own, said, strict=True):
                        kept.put(key, judgement_line(item, tuple(value.tolist()), judge.name, key))
                progress.advance(len(items))
            found += values
    return found


def _known(keys: Sequence[str], kept: KeptJudgements | None) -> list[Values] | None:
    """What was kept of a unit; None if anything is missing, since a unit is computed whole."""
    if kept is None:
        return None
    values = [kept.values(key) for key in keys]
    there = [value for value in values if value is not None]
    return there if len(there) == len(keys) else None


def _round(
    together: Sequence[Sequence[Item]], known: Sequence[list[Values] | None], judge: Judge, world: World, width: int
) -> list[np.ndarray]:
    """The values of the units of one round, this process having judged its own if it was not known."""
    parts = [np.zeros((len(items), width)) for items in together]
    if world.rank < len(together) and known[world.rank] is None:
        parts[world.rank] = np.asarray(judge.values(together[world.rank]), dtype=np.float64).reshape(-1, width)
    if world.size > 1 and any(own is None for own in known):
        import torch

        summed = world.sum(torch.from_numpy(np.concatenate(parts))).numpy()
        parts = np.split(summed, np.cumsum([len(items) for items in together])[:-1])
    return [
        part if own is None else np.array(own, dtype=np.float64).reshape(-1, width)
        for part, own in zip(parts, known, strict=True)
    ]
