"""The curves of a run as one picture, from its metrics.jsonl (`plot` extra).

Six panels over the step: loss and bits per byte of training (whole and per source), bits per byte of held-out text
with the forgetting gauge's language among it, learning rate, gradient norm, tokens a second. A panel without a figure
is left out. Long runs are drawn as means over at most 1,000 spans of steps, with the range of the loss shaded, so that
noise neither hides a curve nor makes the picture large. Cost: one pass over the file, 0.6 s of drawing.
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

PICTURE = "curves.png"
MAX_POINTS = 1000
Points = list[tuple[int, float]]

# (title, label of the y axis, the kind of line it draws, how a curve's name and value are found in a line)
_TITLES = {
    "loss": ("loss in training", "nats per token"),
    "bits_per_byte": ("bits per byte in training", "bits per byte"),
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
    sources = {**row.get("sources", {}), **{key: value for key, value in row.items() if isinstance(value, dict)}}
    sources.pop("sources", None)
    if row.get("kind") == "eval":
        yield from (("eval", name, figures.get("bits_per_byte")) for name, figures in sources.items())
        return
    for key in ("loss", "lr", "grad_norm", "tokens_per_second"):
        yield key, "all" if key == "loss" else key, row.get(key)
    for name, figures in sources.items():
        yield "loss", name, figures.get("loss")
        yield "bits_per_byte", name, figures.get("bits_per_byte")


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


def draw_curves(panels: Mapping[str, Mapping[str, Points]], stream: IO[bytes], title: str) -> None:
    """Draw `panels` (of `read_curves`) to `stream` as PNG. Raises SeaError where there is nothing to draw."""
    if not panels:
        raise SeaError("no metrics to draw")
    matplotlib = require("matplotlib")
    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    named = [name for name in names if name not in _TITLES and name != "all"]
    colours = {name: f"C{number % 10}" for number, name in enumerate(named)}
    columns = min(3, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(4.6 * columns, 3.3 * rows), layout="constrained", dpi=110)
    figure.suptitle(title)
    for place, (panel, curves) in enumerate(panels.items()):
        axes = figure.add_subplot(rows, columns, place + 1)
        for name, points in curves.items():
            _draw_curve(axes, name, points, colours.get(name, "0.25"))
        heading, unit = _TITLES[panel]
        axes.set_title(heading, fontsize=10)
        axes.set_xlabel("step")
        axes.set_ylabel(unit)
        axes.grid(alpha=0.3)
        if panel == "grad_norm" and min(value for _, value in curves["grad_norm"]) > 0:
            axes.set_yscale("log")
        if panel == "tokens_per_second":
            axes.set_ylim(bottom=0)
        if len(curves) > 1 or panel in ("bits_per_byte", "eval"):
            axes.legend(fontsize=8, ncols=1 + len(curves) // 6)
    figure.savefig(stream, format="png", metadata={"Software": None})


def _draw_curve(axes: Any, name: str, points: Sequence[tuple[int, float]], colour: str) -> None:
    spans = thinned(list(points))
    steps = [span[0] for span in spans]
    marker = "." if len(spans) < 40 else None
    axes.plot(steps, [span[1] for span in spans], color=colour, label=name, linewidth=1.2, marker=marker, markersize=4)
    if len(spans) < len(points):
        axes.fill_between(steps, [s[2] for s in spans], [s[3] for s in spans], color=colour, alpha=0.15, linewidth=0)


def save_curves(metrics: Path, target: Path, messages: Messages, *, asked_for: bool = False) -> bool:
    """Draw the run whose `metrics` these are into `target`; whether there is a picture.

    Without matplotlib, or without a line to draw, one note says so; `asked_for` (by a flag) makes it a SeaError.
    """
    try:
        with open(metrics, "rb") as lines:
            panels = read_curves(lines)
        if not panels:
            raise SeaError("no metrics to draw", where=str(metrics))
        require("matplotlib")
        with open_output(target, force=True) as stream:
            draw_curves(panels, stream, metrics.resolve().parent.name)
    except SeaError as error:
        if asked_for:
            raise
        messages.info(f"no picture of the curves: {error}")
        return False
    return True
