"""Where the neurons are, as a picture: languages down, layers across, their number as the shade (`plot` extra)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from seatools.streams.errors import UsageError
from seatools.streams.extras import require

FORMATS = (".png", ".svg", ".pdf")


def check_plot(path: Path) -> None:
    """Refuse, before any work, a picture that could not be made: its ending, or matplotlib missing."""
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"--plot {path}: unknown kind of picture", fix=f"end it in {', '.join(FORMATS)}")
    require("matplotlib")


def draw_heat_map(rows: Sequence[dict[str, Any]], stream: IO[bytes], kind: str) -> None:
    """Draw the report's rows (`lang`, `per_layer`, `method`) to `stream` as `kind` ("png", "svg", "pdf")."""
    matplotlib = require("matplotlib")
    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    counts = [row["per_layer"] for row in rows]
    figure = Figure(figsize=(3.4 + 0.3 * len(counts[0]), 1.6 + 0.35 * len(rows)), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(counts, aspect="auto", cmap="Blues", vmin=0)
    axes.set_yticks(range(len(rows)), [row["lang"] for row in rows])
    axes.set_xlabel("layer")
    axes.set_title(f"language-specific neurons ({rows[0]['method']})")
    figure.colorbar(image, ax=axes, label="neurons")
    metadata = {"Date": None} if kind == "svg" else {"Software": None} if kind == "png" else {"CreationDate": None}
    with matplotlib.rc_context({"svg.hashsalt": "sea"}):
        figure.savefig(stream, format=kind, metadata=metadata)
