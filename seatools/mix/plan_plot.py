"""The plan of a mix as a picture: units of each source over the stream, epochs against their caps, shares by phase.

The stream is walked once more, in at most 200 steps, so the lines are those of the documents that will be emitted, not
of the weights. Cost: that of the keyed order, as for emission; memory, 24 bytes a document of a step.
"""

from __future__ import annotations

import math
from typing import IO, Any

import numpy as np

from seatools.mix.plan import Plan
from seatools.streams.plot_style import SMALL, WHOLE, fill_of, legend_name, looks, save, styled
from seatools.streams.sizes import human_count

STEPS = 200
_LINE = 0.3  # inches of a source or phase
_WRITTEN = 0.06  # shares from here on are written into their bar


def given_along(plan: Plan, steps: int = STEPS) -> np.ndarray:
    """[steps + 1, sources] int64: units that each source has given, from the start of the stream to its end."""
    units = [index.units(plan.options.unit) for index in plan.indexes]
    total = len(plan.schedule.order)
    size = max(1, math.ceil(total / steps))
    rows = [np.zeros(len(units), np.int64)]
    for start in range(0, total, size):
        sources, docs = plan.emissions(start, start + size)
        given = rows[-1].copy()
        for source in np.unique(sources).tolist():
            given[source] += int(units[source][docs[sources == source]].sum())
        rows.append(given)
    return np.stack(rows)


def draw_plan(plan: Plan, stream: IO[bytes], kind: str) -> None:
    """Draw `plan` to `stream` as `kind` ("png", "svg", "pdf"); the same plan, the same bytes."""
    given = given_along(plan)
    names = [row.source for row in plan.rows]
    look_of = looks(names)
    num_phases = len(plan.phases)
    heights = [3.0, 0.8 + _LINE * len(names), 0.9 + 1.6 * _LINE * num_phases]
    with styled():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7.6, 0.5 + sum(heights)), layout="constrained")
        figure.suptitle(f"mix of {human_count(plan.schedule.total)} {plan.options.unit}")
        along, epochs, shares = figure.subplots(3, 1, height_ratios=heights)
        _draw_stream(along, plan, given, look_of)
        _draw_epochs(epochs, plan, look_of)
        _draw_shares(shares, plan, look_of)
        save(figure, stream, kind)


def _draw_stream(axes: Any, plan: Plan, given: np.ndarray, look_of: dict[str, dict[str, Any]]) -> None:
    from matplotlib.ticker import FuncFormatter

    position, upper = given.sum(axis=1), given.cumsum(axis=1)
    for source, row in enumerate(plan.rows):
        fill = fill_of(look_of[row.source])
        axes.fill_between(
            position, upper[:, source] - given[:, source], upper[:, source], label=legend_name(row.source), **fill
        )
    end = 0
    for phase in plan.phases if plan.options.phases else []:
        axes.annotate(
            phase.name, (end, 1.0), xycoords=("data", "axes fraction"), xytext=(3, -2), textcoords="offset points",
            va="top", fontsize=8, color=WHOLE,
        )  # fmt: skip
        end += phase.schedule.total
        axes.axvline(end, color=WHOLE, linewidth=0.8, linestyle=(0, (2, 2)))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: human_count(value)))
    axes.set_title(f"{plan.options.unit} of each source along the stream, one on another")
    axes.set_xlabel(f"{plan.options.unit} of the mix")
    axes.set_xlim(0, position[-1])
    axes.set_ylim(0, position[-1])
    axes.grid(True)
    columns = 1 + len(plan.rows) // 16
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), ncols=columns, reverse=columns == 1)


def _draw_epochs(axes: Any, plan: Plan, look_of: dict[str, dict[str, Any]]) -> None:
    from matplotlib.ticker import MaxNLocator

    for place, row in enumerate(plan.rows):
        axes.barh(place, row.epochs, height=0.62, **fill_of(look_of[row.source]))
        axes.plot([row.max_epochs] * 2, [place - 0.38, place + 0.38], color=WHOLE, linewidth=1.6)
        used_up = ", used up" if row.exhausted else ""
        axes.annotate(
            f"{row.epochs:.2f} of {row.max_epochs}{used_up}", (1.01, place), xycoords=("axes fraction", "data"),
            va="center", fontsize=8, color=WHOLE,
        )  # fmt: skip
    axes.set_yticks(range(len(plan.rows)), [row.source for row in plan.rows])
    axes.set_ylim(len(plan.rows) - 0.4, -0.6)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title("epochs")
    axes.set_xlabel("times that a source is read; the stroke is the most allowed")
    axes.grid(True, axis="x")


def _draw_shares(axes: Any, plan: Plan, look_of: dict[str, dict[str, Any]]) -> None:
    """A bar a phase of what is emitted, and a thin one beneath it of what the weights ask for."""
    named = plan.options.phases
    for place in range(len(plan.phases)):
        left, target_left = 0.0, 0.0
        for row in plan.rows:
            of = row.phases[place] if named else row
            fill = fill_of(look_of[row.source])
            axes.barh(place, of.share, 0.5, left, **fill)
            axes.barh(place + 0.34, of.target_share, 0.12, target_left, **fill)
            if of.share >= _WRITTEN:
                axes.text(
                    left + of.share / 2, place, f"{of.share:.0%}", ha="center", va="center", fontsize=SMALL + 1,
                    color="black", bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "linewidth": 0},
                )  # fmt: skip
            left, target_left = left + of.share, target_left + of.target_share
    axes.set_yticks(range(len(plan.phases)), [phase.name if named else "mix" for phase in plan.phases])
    axes.set_ylim(len(plan.phases) - 0.4, -0.6)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set_title(f"shares of the {plan.options.unit}{' by phase' if named else ''}")
    axes.set_xlabel("thick: emitted; thin: what the weights ask for")
