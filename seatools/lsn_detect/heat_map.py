"""Where the neurons are and which languages share them, as a picture (`plot` extra).

Left, a block for each part with neurons: languages down, layers across, the number as the shade, a scale for each
block, since an FFN has ten times the neurons of a k_proj. Right, the overlap (Jaccard) of every two languages.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO, Any

from seatools.streams.plot_style import OVERLAP, SEQUENTIAL, SMALL, legible_on, save, styled

_NAMES = {"ffn": "FFN", "shared": "shared expert", "q": "Q", "k": "K", "v": "V", "o": "O"}
_LITTLE = 0.25  # an overlap that is not yet drawn dark, were it the largest
_MOST_NUMBERED = 16  # languages whose overlaps are still written into the cells


def draw_heat_map(rows: Sequence[dict[str, Any]], stream: IO[bytes], kind: str) -> None:
    """Draw the rows of `report_rows` to `stream` as `kind` ("png", "svg", "pdf"); the same rows, the same bytes."""
    langs = [row["lang"] for row in rows]
    num_layers = len(rows[0]["per_layer"])
    parts = list(dict.fromkeys(part for row in rows for part in row["per_layer_by_matrix"]))
    tall, wide = 0.24 * len(langs), min(0.2 * num_layers, 10.0)  # inches of a block
    side = max(0.42 * len(langs), 1.4)  # of the overlap matrix
    height = max((tall + 0.55) * max(1, len(parts)), side) + 1.1
    size = (wide + 2.0 + (side + 1.4 if len(langs) > 1 else 0), height)
    with styled():
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
        from matplotlib.ticker import MaxNLocator

        figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.08))
        figure.suptitle(f"language-specific neurons ({rows[0]['method']})")
        columns = 2 if len(langs) > 1 else 1
        grid = figure.add_gridspec(max(1, len(parts)), columns, width_ratios=(wide + 1.6, side + 1.2)[:columns])
        for number, part in enumerate(parts or ["ffn"]):
            axes = figure.add_subplot(grid[number, 0])
            counts = [row["per_layer_by_matrix"].get(part, [0] * num_layers) for row in rows]
            image = axes.imshow(counts, aspect="auto", cmap=SEQUENTIAL, vmin=0, vmax=max(1, max(map(max, counts))))
            axes.set_yticks(range(len(langs)), langs)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=min(16, num_layers)))
            axes.set_title(_NAMES.get(part, part), loc="left")
            if number == len(parts) - 1:
                axes.set_xlabel("layer")
            scale = figure.colorbar(image, ax=axes, pad=0.01, label="neurons")
            scale.ax.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))
        if len(langs) > 1:
            _draw_overlap(figure.add_subplot(grid[:, 1]), rows)
        save(figure, stream, kind)


def _draw_overlap(axes: Any, rows: Sequence[dict[str, Any]]) -> None:
    langs = [row["lang"] for row in rows]
    matrix = [[row["overlap"].get(other, float("nan")) for other in langs] for row in rows]
    most = max(value for row in rows for value in row["overlap"].values())
    axes.set_facecolor("0.85")  # the diagonal
    axes.imshow(matrix, cmap=OVERLAP, vmin=0, vmax=max(most, _LITTLE))
    axes.set_anchor("N")
    axes.set_xticks(range(len(langs)), langs, rotation=90)
    axes.set_yticks(range(len(langs)), langs)
    axes.set_title("overlap (Jaccard)", loc="left")
    if len(langs) > _MOST_NUMBERED:
        return
    for y, row in enumerate(matrix):
        for x, value in enumerate(row):
            if x != y:
                text, colour = f"{value:.2f}".removeprefix("0"), legible_on(value / max(most, _LITTLE))
                axes.text(x, y, text, ha="center", va="center", fontsize=SMALL, color=colour)
