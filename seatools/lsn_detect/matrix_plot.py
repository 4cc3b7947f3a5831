"""The matrix of a verification as a picture: a row a language switched off, a column a language scored, random beneath.

Both halves share one scale, symmetrical about no change, so that a set that does no more than random looks like it.
A frame marks each set's own language. The same records give the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import IO, Any

from seatools.streams.plot_style import DIVERGING, SMALL, legible_on, save, styled

_FEW = 16  # columns up to which the numbers are written into the cells


def draw_matrix(records: Sequence[Mapping[str, Any]], stream: IO[bytes], kind: str) -> None:
    """Draw the records of `verify_report` to `stream` as `kind` ("png", "svg", "pdf")."""
    cells = {(row["off"], row["scored"]): row for row in records if row["record"] == "cell"}
    rows, columns = (list(dict.fromkeys(pair[place] for pair in cells)) for place in (0, 1))
    kinds = [("change", "without its neurons")]
    if any(row["random_change"] is not None for row in cells.values()):
        kinds.append(("random_change", "without as many random ones"))
    values = {key: [[cells[off, scored][key] for scored in columns] for off in rows] for key, _ in kinds}
    largest = max(abs(value) for table in values.values() for line in table for value in line) or 1.0
    size = (2.6 + 0.62 * len(columns), 1.2 + len(kinds) * (0.7 + 0.36 * len(rows)))
    with styled():
        from matplotlib.figure import Figure
        from matplotlib.patches import Rectangle

        figure = Figure(figsize=size, layout="constrained")
        all_axes = figure.subplots(len(kinds), 1, squeeze=False)[:, 0]
        for axes, (key, title) in zip(all_axes, kinds, strict=True):
            image = axes.imshow(values[key], aspect="auto", cmap=DIVERGING, vmin=-largest, vmax=largest)
            axes.set_yticks(range(len(rows)), rows)
            axes.set_xticks(range(len(columns)), columns)
            axes.set_ylabel("switched off")
            axes.set_title(title)
            for y, off in enumerate(rows):
                axes.add_patch(Rectangle((columns.index(off) - 0.5, y - 0.5), 1, 1, fill=False, lw=1.5, ec="black"))
                for x in range(len(columns) if len(columns) <= _FEW else 0):
                    value = values[key][y][x]
                    colour = legible_on(abs(value) / largest)
                    axes.text(
                        x, y, f"{round(value, 2) + 0.0:.2f}", ha="center", va="center", fontsize=SMALL, color=colour
                    )
        all_axes[-1].set_xlabel("language of the text")
        figure.colorbar(image, ax=list(all_axes), label="change in bits per byte")
        save(figure, stream, kind)
