"""The curves of a run as one picture, from its metrics.jsonl (`plot` extra).

Panels over the step: loss and bits per byte of training (whole and per source), reward margin and accuracy of pairs
(whole and per language), bits per byte of held-out text with the forgetting gauge's language among it, learning rate,
gradient norm, tokens a second. A panel without a figure is left out. Long runs are drawn as means over at most 1,000
spans of steps, with the range of the loss shaded, so that noise neither hides a curve nor makes the picture large.
Cost: one pass over the file, 0.6 s of drawing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import orjson

from seatools.streams.errors import SeaError
from seatools.streams.extras import require
from seatools.streams.messages import Messages
from seatools.streams.outputs import open_output
from seatools.streams.plot_style import WHOLE, kind_of, legend_name, looks, save, styled

PICTURE = "curves.png"
MAX_POINTS = 1000
Points = list[tuple[int, float]]

# (title, label of the y axis, the kind of line it draws, how a curve's name and value are found in a line)
_TITLES = {
    "loss": ("loss in training", "nats per token"),
    "bits_per_byte": ("bits per byte in training", "bits per byte"),
    "reward_margin": ("reward of chosen over rejected", "beta x nats"),
    "accuracy": ("pairs with the chosen answer ahead", "share of the pairs"),
    "eval": ("bits per byte of held-out text", "bits per byte"),
    "lr": ("learning rate", "learning rate"),
    "grad_norm": ("gradient norm", "2-norm before clipping"),
    "tokens_per_second": ("speed", "tokens per second"),
}


def read_curves(lines: Iterable[bytes]) -> dict[str, dict[str, Points]]:
    """{panel: {curve: [(step, value)]}} of metrics lines; a line that a crash cut off is passed over."""
    panels: dict[str, dict[str, Points]] = {panel: {} for panel in _TITLES}
    for line in lines:
        try:
            row = orjson.loads(line)
            step = int(row["step"])
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            continue
        for panel, curve, value in _figures(row):
            if isinstance(value, int | float) and math.isfinite(value):
                panels[panel].setdefault(curve, []).append((step, float(value)))
    return {panel: curves for panel, curves in panels.items() if curves}


def _figures(row: Mapping[str, Any]) -> Iterable[tuple[str, str, Any]]:
    sources = {**_tables(row.get("sources")), **_tables(row)}
    sources.pop("sources", None)
    if row.get("kind") == "eval":
        yield from (("eval", name, figures.get("bits_per_byte")) for name, figures in sources.items())
        return
    for key in ("loss", "lr", "grad_norm", "tokens_per_second"):
        yield key, "all" if key == "loss" else key, row.get(key)
    for key in ("reward_margin", "accuracy"):
        yield key, "all", row.get(key)
    for name, figures in _tables(sources.pop("by_lang", None)).items():
        yield "reward_margin", name, figures.get("margin")
        yield "accuracy", name, figures.get("accuracy")
    for name, figures in sources.items():
        yield "loss", name, figures.get("loss")
        yield "bits_per_byte", name, figures.get("bits_per_byte")


def _tables(value: Any) -> dict[str, Mapping[str, Any]]:
    """The members of an object that are objects."""
    return {key: item for key, item in value.items() if isinstance(item, dict)} if isinstance(value, dict) else {}


def thinned(points: Points, most: int = MAX_POINTS) -> list[tuple[float, float, float, float]]:
    """(mean step, mean, least, greatest) over at most `most` runs of points, as even as they come."""
    size = max(1, math.ceil(len(points) / most))
    runs = [points[first : first + size] for first in range(0, len(points), size)]
    return [
        (
            sum(step for step, _ in run) / len(run), sum(value for _, value in run) / len(run),
            min(value for _, value in run), max(value for _, value in run),
        )
        for run in runs
    ]  # fmt: skip


def draw_curves(panels: Mapping[str, Mapping[str, Points]], stream: IO[bytes], title: str, kind: str = "png") -> None:
    """Draw `panels` (of `read_curves`) to `stream` as `kind`. Raises SeaError where there is nothing to draw."""
    if not panels:
        raise SeaError("no metrics to draw")
    with styled():
        from matplotlib.figure import Figure
        from matplotlib.ticker import LogLocator

        names = list(dict.fromkeys(name for curves in panels.values() for name in curves))
        look_of = looks(name for name in names if name not in _TITLES and name != "all")
        columns = min(3, len(panels))
        rows = math.ceil(len(panels) / columns)
        figure = Figure(figsize=(4.6 * columns, 3.3 * rows), layout="constrained")
        figure.suptitle(title)
        for place, (panel, curves) in enumerate(panels.items()):
            axes = figure.add_subplot(rows, columns, place + 1)
            for name, points in curves.items():
                _draw_curve(axes, name, points, look_of.get(name, {"color": WHOLE}))
            heading, unit = _TITLES[panel]
            unit = "of a pair" if panel == "loss" and "reward_margin" in panels else unit
            axes.set_title(heading)
            axes.set_xlabel("step")
            axes.set_ylabel(unit)
            axes.grid(True)
            if panel == "grad_norm" and min(value for _, value in curves["grad_norm"]) > 0:
                axes.set_yscale("log")
                axes.yaxis.set_major_formatter("{x:g}")  # the axis' own is a formula
                axes.yaxis.set_minor_formatter("{x:g}")
                axes.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
            if panel == "tokens_per_second":
                axes.set_ylim(bottom=0)
            if len(curves) > 1 or panel in ("bits_per_byte", "eval"):
                axes.legend(ncols=1 + len(curves) // 6)
        save(figure, stream, kind)


def _draw_curve(axes: Any, name: str, points: Sequence[tuple[int, float]], look: Mapping[str, Any]) -> None:
    spans = thinned(list(points))
    steps = [span[0] for span in spans]
    marker = "." if len(spans) < 40 else None
    axes.plot(steps, [span[1] for span in spans], label=legend_name(name), marker=marker, markersize=4, **look)
    if len(spans) < len(points):
        least, most = [span[2] for span in spans], [span[3] for span in spans]
        axes.fill_between(steps, least, most, color=look["color"], alpha=0.15, linewidth=0)


def save_curves(metrics: Path, target: Path, messages: Messages, *, asked_for: bool = False) -> bool:
    """Draw the run whose `metrics` these are into `target`, by its ending; whether there is a picture.

    Without matplotlib, or without a line to draw, one note says so; `asked_for` (by a flag) makes it a SeaError.
    """
    try:
        with open(metrics, "rb") as lines:
            panels = read_curves(lines)
        if not panels:
            raise SeaError("no metrics to draw", where=str(metrics))
        require("matplotlib")
        with open_output(target, force=True) as stream:
            draw_curves(panels, stream, metrics.resolve().parent.name, kind_of(target))
    except SeaError as error:
        if asked_for:
            raise
        messages.info(f"no picture of the curves: {error}")
        return False
    return True
