"""One visual language for every picture: colours, fonts, sizes, grid, and how a picture is saved (`plot` extra).

A language has the same colour and line in every picture. Eight colours (Okabe and Ito 2008, two of Tol's) stay apart
under red-green blindness: 0.07 in OKLab under the matrices of Machado 2009, a test says so; beyond eight, lines are
dashed, then dotted. Names are drawn as they are, never as formulas. Text in SVG stays text. The same data give the same
bytes: no dates, salted ids. matplotlib is imported by functions only.
"""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any
from zlib import crc32

from seatools.streams.errors import UsageError
from seatools.streams.extras import require
from seatools.streams.outputs import check_output

FORMATS = (".png", ".svg", ".pdf")
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#332288", "#882255")
DASHES = ("-", "--", ":")
WHOLE = "#404040"
"""What is not of one language: the sum, a frame, an interval."""
SEQUENTIAL, OVERLAP, DIVERGING = "Blues", "Oranges", "RdBu_r"
"""Colour maps: counts; overlaps; changes about nothing, less is blue."""
SMALL = 7
"""Points of what stands inside a cell."""
_LANGUAGES = ("en", "th", "lo", "km", "my", "vi", "id", "ms", "zh", "tl", "ta", "jv")
_ISO_639_3 = {
    "eng": "en", "tha": "th", "lao": "lo", "khm": "km", "mya": "my", "bur": "my", "vie": "vi", "ind": "id",
    "msa": "ms", "zsm": "ms", "may": "ms", "zho": "zh", "chi": "zh", "tgl": "tl", "fil": "tl", "tam": "ta",
    "jav": "jv",
}  # fmt: skip
_SETTINGS: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "sans-serif"],
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.labelsize": 8.5,
    "axes.edgecolor": "0.4",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": False,
    "grid.color": "0.85",
    "grid.linewidth": 0.6,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "legend.fontsize": 8.0,
    "legend.frameon": False,
    "figure.titlesize": 11.0,
    "lines.linewidth": 1.4,
    "savefig.dpi": 120.0,
    "svg.hashsalt": "sea",
    "svg.fonttype": "none",
    "text.parse_math": False,
}


def check_plot(path: Path, *, force: bool = True, inputs: Iterable[str | Path] = ()) -> None:
    """Refuse, before any work, a picture that could not be made: its ending, its place, matplotlib missing."""
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"--plot {path}: unknown kind of picture", fix=f"end it in {', '.join(FORMATS)}")
    require("matplotlib")
    check_output(path, force=force, inputs=inputs)


def kind_of(path: Path) -> str:
    """ "png", "svg" or "pdf", by the ending."""
    return path.suffix.lower().removeprefix(".")


@contextlib.contextmanager
def styled() -> Iterator[None]:
    """While this is open, figures are made in our style, without a screen."""
    matplotlib = require("matplotlib")
    matplotlib.use("Agg")
    with matplotlib.rc_context(_SETTINGS), warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes in PNG; SVG has the text itself.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        yield


def save(figure: Any, stream: IO[bytes], kind: str) -> None:
    """Write `figure` as `kind` ("png", "svg", "pdf"), without a date or the version of a library. Inside `styled`."""
    empty = {"png": "Software", "svg": "Date", "pdf": "CreationDate"}
    if figure.get_layout_engine() is not None:  # its solver ends at places that differ in the last bits
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
    for axes in figure.axes:
        axes.set_position([round(edge, 5) for edge in axes.get_position().bounds])
    figure.savefig(stream, format=kind, metadata={empty[kind]: None})


def looks(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Name -> {"color", "linestyle"}: fixed for the languages of the region, by their code for others.

    Other names begin at a place that the name itself says, and give way to those that are there before them.
    """
    names = list(dict.fromkeys(names))
    places = {name: _LANGUAGES.index(code) for name in names if (code := _language(name)) in _LANGUAGES}
    taken = set(places.values())
    number = len(COLOURS) * len(DASHES)
    for name in names:
        if name not in places:
            first = crc32(name.encode("utf-8", "surrogatepass")) % len(COLOURS)
            tried = [(first + step) % number for step in range(number)]
            places[name] = next((place for place in tried if place not in taken), first)
            taken.add(places[name])
    return {
        name: {
            "color": COLOURS[places[name] % len(COLOURS)],
            "linestyle": DASHES[places[name] // len(COLOURS) % len(DASHES)],
        }
        for name in names
    }


def fill_of(look: dict[str, Any]) -> dict[str, Any]:
    """The area or bar that goes with a line of `looks`: hatched where the line is not solid."""
    return {
        "facecolor": look["color"],
        "edgecolor": "white",
        "linewidth": 0.8,
        "hatch": {"-": None, "--": "//", ":": ".."}[look["linestyle"]],
    }


def _language(name: str) -> str:
    code = re.split("[-_]", name.lower(), maxsplit=1)[0]
    return _ISO_639_3.get(code, code)


def legend_name(name: str) -> str:
    """matplotlib leaves names that begin with _ out of a legend."""
    return f" {name}" if name.startswith("_") else name


def legible_on(share: float) -> str:
    """The colour of text on a cell that is dark by `share` (0 to 1)."""
    return "white" if share > 0.6 else "black"
