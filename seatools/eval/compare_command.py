"""`sea eval compare A.samples.jsonl B.samples.jsonl`: is B better than A, and could it be seen?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seatools.streams.errors import UsageError
from seatools.streams.flags import Debug, Force, Json, Output, Quiet, Seed, Verbose, new_app, prints_jsonl, run_app
from seatools.streams.messages import Messages

if TYPE_CHECKING:
    from seatools.eval.compare import Comparison

app = new_app()


@app.command(name="compare")
def compare_samples(
    a: Annotated[str, typer.Argument(metavar="A", help="samples of one model (file, glob or @list.txt)")],
    b: Annotated[str, typer.Argument(metavar="B", help="samples of the other")],
    output: Output = None,
    json: Json = False,
    pick_a: Annotated[
        list[str] | None, typer.Option("--a", metavar="KEY=VALUE", help="only A's samples of this config; repeatable")
    ] = None,
    pick_b: Annotated[
        list[str] | None, typer.Option("--b", metavar="KEY=VALUE", help="only B's samples of this config; repeatable")
    ] = None,
    max_unpaired: Annotated[
        float, typer.Option("--max-unpaired", metavar="SHARE", min=0, max=1, help="items that may be in one file only")
    ] = 0.05,
    resamples: Annotated[int, typer.Option("--resamples", min=100, metavar="N", help="of the paired bootstrap")] = 1000,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="picture of the differences (.png, .svg, .pdf)")
    ] = None,
    seed: Seed = 0,
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    debug: Debug = False,
) -> None:
    """Two models on the same items: difference, 95 % interval, p-value, corrected for the number of tasks.

    \b
    examples:
      sea eval compare base.samples.jsonl adapted.samples.jsonl --plot differences.png
      sea eval compare s.jsonl s.jsonl --a deactivate= --b deactivate=neurons.safetensors:th --json

    Items are paired by their content. Accuracies: McNemar's exact test; the rest: paired bootstrap. p_holm corrects the
    first metric of each task and language for their number; `detectable`: the smallest difference that 95 % would see.
    """
    from seatools.eval.compare import compare, matching, parse_wanted
    from seatools.eval.samples import SampleReader
    from seatools.streams.inputs import expand, same_file
    from seatools.streams.manifest import Manifest
    from seatools.streams.outputs import check_output, open_output
    from seatools.streams.plot_style import check_plot, kind_of
    from seatools.streams.records import dump

    messages = Messages(quiet, verbose)
    wanted_a, wanted_b = parse_wanted(pick_a or [], "a"), parse_wanted(pick_b or [], "b")
    paths_a, paths_b = expand(a), expand(b)
    if "-" in paths_a and "-" in paths_b:
        raise UsageError("A and B are both stdin", fix="give a file for one")
    paths = [*paths_a, *(path for path in paths_b if path not in paths_a)]
    check_output(output, force=force, inputs=paths)
    if plot is not None:
        check_plot(plot, force=force, inputs=paths)
        if output is not None and same_file(output, plot):
            raise UsageError(f"--plot {plot} is the output too", fix="name another file")
    readers = SampleReader(paths_a), SampleReader(paths_b)
    found = compare(
        matching(readers[0], wanted_a), matching(readers[1], wanted_b),
        seed=seed, resamples=resamples, max_unpaired=max_unpaired,
    )  # fmt: skip
    for reader in readers:
        for warning in reader.warnings():
            messages.warn(warning)
    for warning in found.warnings:
        messages.warn(warning)
    to_file = output not in (None, "-")
    if to_file or prints_jsonl(json):
        with open_output(output, force=force, inputs=paths) as stream:
            for row in found.rows:
                stream.write(dump(row) + b"\n")
    if not prints_jsonl(json):
        _print_table(found)
    if plot is not None:
        from seatools.eval.compare_plot import draw_comparison

        with open_output(plot, force=force, inputs=paths, binary=True) as stream:
            draw_comparison(found.rows, stream, kind_of(plot))
    if to_file:
        options = {"a": wanted_a, "b": wanted_b, "max_unpaired": max_unpaired, "resamples": resamples}
        manifest = Manifest("eval compare", options=options, seed=seed)
        manifest.add_inputs(paths)
        manifest.counts = {"rows": len(found.rows)}
        manifest.write(output)


def _print_table(found: Comparison) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from seatools.eval.compare import better
    from seatools.streams.tables import show_table

    # Two lines a row, to fit 80 columns.
    table = Table(box=SIMPLE_HEAD, padding=(0, 0), pad_edge=False, show_edge=False)
    table.add_column("task, lang\nmetric")
    for name in ("A\nB", "B - A\n95 %", "\ndetectable", "p\np Holm", "n\nunpaired"):
        table.add_column(name, justify="right")
    table.add_column("better")
    for row in found.rows:
        interval = "" if row["low"] is None else f"{row['low']:+.4f} to {row['high']:+.4f}"
        pairs = (
            (_shown(row["a"]), _shown(row["b"])),
            (_shown(row["difference"], "+"), interval),
            ("", _shown(row["detectable"])),
            (_shown(row["p"]), _shown(row["p_holm"])),
            (f"{row['n']:,}", f"{row['unpaired']:,}"),
        )
        table.add_row(f"{row['task']} {row['lang']}\n{row['metric']}", *map("\n".join, pairs), better(row) or "")
    first = found.rows[0]
    show_table(table, title=f"A: {first['model_a']}\nB: {first['model_b']}")


def _shown(value: float | None, sign: str = "") -> str:
    return "" if value is None else f"{value:{sign}.4f}"


def main(argv: list[str]) -> int:
    """`sea eval ARGV` for an ARGV that begins with "compare"."""
    return run_app(app, "eval compare", argv[1:])
