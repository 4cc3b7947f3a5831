"""The differences of a comparison as a picture: a panel a metric, a line a task and language, B less A, its interval.

Filled points are those that the corrected test tells apart (`better`), hollow ones are not; words beside each say the
same, so that nothing is said by colour alone. Each panel says on which side B is better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import IO, Any

from seatools.eval.compare import better
from seatools.streams.plot_style import WHOLE, looks, save, styled

_LINE = 0.27  # inches of a task and language
_LONGEST_NAME = 60  # characters of a model's path, its end, in the title


def draw_comparison(rows: Sequence[Mapping[str, Any]], stream: IO[bytes], kind: str) -> None:
    """Draw the rows of `compare` to `stream` as `kind` ("png", "svg", "pdf")."""
    metrics = list(dict.fromkeys(row["metric"] for row in rows))
    of = {metric: [row for row in rows if row["metric"] == metric] for metric in metrics}
    with styled():
        from matplotlib.figure import Figure

        heights = [1.1 + _LINE * len(of[metric]) for metric in metrics]
        figure = Figure(figsize=(7.2, 0.7 + sum(heights)), layout="constrained")
        a, b = (rows[0][f"model_{side}"] for side in "ab")
        figure.suptitle(f"A: {_short(a)}\nB: {_short(b)}", x=0.01, ha="left")
        look_of = looks(row["lang"] for row in rows)
        all_axes = figure.subplots(len(metrics), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axes, metric in zip(all_axes, metrics, strict=True):
            _draw_metric(axes, metric, of[metric], look_of)
        save(figure, stream, kind)


def _draw_metric(axes: Any, metric: str, rows: Sequence[Mapping[str, Any]], look_of: Mapping[str, Any]) -> None:
    axes.axvline(0, color=WHOLE, linewidth=1)
    for place, row in enumerate(rows):
        colour, winner = look_of[row["lang"]]["color"], better(row)
        if row["low"] is not None:
            axes.plot([row["low"], row["high"]], [place, place], color=colour, solid_capstyle="butt", linewidth=1.8)
        face = colour if winner else "white"
        axes.plot([row["difference"]], [place], "o", color=colour, markerfacecolor=face, markersize=6)
        verdict = f"{winner} is better" if winner else "no difference seen"
        if row["p_holm"] is None:
            verdict = "second metric, not tested"
        axes.annotate(
            f"{row['difference']:+.3f}  {verdict}", (1.01, place), xycoords=("axes fraction", "data"), va="center",
            fontsize=8, color=WHOLE,
        )  # fmt: skip
    axes.set_yticks(range(len(rows)), [f"{row['task']}  {row['lang']}" for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    side = "right" if rows[0]["higher_is_better"] else "left"
    axes.set_title(metric)
    axes.set_xlabel(f"B - A with its 95 % interval; to the {side}, B is better")
    axes.grid(True, axis="x")


def _short(model: str) -> str:
    return model if len(model) <= _LONGEST_NAME else f"...{model[-_LONGEST_NAME:]}"
