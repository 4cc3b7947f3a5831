"""`sea lsn-detect show`: what a neuron file holds, without the model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seatools.lsn_detect.flags import Plot
from seatools.streams.flags import Debug, Force, Json, new_app, run_app

app = new_app()


@app.command()
def show(
    neurons: Annotated[Path, typer.Argument(metavar="NEURONS", help="a file of sea lsn-detect")],
    plot: Plot = None,
    force: Force = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """What a neuron file holds: counts by layer and matrix, share of the parameters, overlap between languages.

    \b
    examples:
      sea lsn-detect show neurons.safetensors
      sea lsn-detect show neurons.safetensors --plot neurons.png

    A record a language where stdout is no terminal or with --json; a table on a terminal.
    """
    import sys

    from seatools.engine.neurons import load_neurons
    from seatools.lsn_detect.heat_map import draw_heat_map
    from seatools.lsn_detect.report import file_rows, print_table
    from seatools.streams.flags import prints_jsonl
    from seatools.streams.outputs import check_output, open_output
    from seatools.streams.plot_style import check_plot, kind_of
    from seatools.streams.records import dump

    if plot is not None:
        check_plot(plot)
        check_output(plot, force=force, inputs=[neurons])
    rows = file_rows(*load_neurons(neurons))
    if plot is not None:
        with open_output(plot, force=force, binary=True) as stream:
            draw_heat_map(rows, stream, kind_of(plot))
    if prints_jsonl(json):
        sys.stdout.buffer.write(b"".join(dump(row) + b"\n" for row in rows))
    else:
        print_table(rows, sys.stdout)


def main(argv: list[str]) -> int:
    """`sea lsn-detect show ARGV`."""
    return run_app(app, "lsn-detect show", argv)
