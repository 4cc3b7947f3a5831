"""`sea lsn-detect select`: statistics in, neurons out, without the model and without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seatools.lsn_detect.flags import Core, Like, Method, MethodFlag, MinDocs, Parts, Percentile, Plot, Share, Top
from seatools.streams.errors import UsageError
from seatools.streams.flags import (
    Config,
    Debug,
    DryRun,
    Force,
    Json,
    OutputPath,
    Quiet,
    Seed,
    Verbose,
    new_app,
    run_app,
)
from seatools.streams.messages import Messages

app = new_app()


@app.command()
def select(
    statistics: Annotated[list[Path], typer.Argument(metavar="STATS...", help="files of sea lsn-detect stats")],
    output: OutputPath,
    method: MethodFlag = Method.lape,
    langs: Annotated[
        str | None, typer.Option("--langs", metavar="LANG,...", help="compare these languages only [all there are]")
    ] = None,
    parts: Parts = None,
    top: Top = None,
    share: Share = 0.01,
    percentile: Percentile = 0.95,
    top_k: Annotated[
        float | None,
        typer.Option("--top-k", metavar="SHARE", help="plnd: share of each layer and matrix taken in a document [0.1]"),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option("--threshold", metavar="EPS", help="plnd: importance at least EPS, not --top-k")
    ] = None,
    min_docs: MinDocs = 1.0,
    core: Core = "all",
    like: Like = None,
    plot: Plot = None,
    seed: Seed = 0,
    force: Force = False,
    dry_run: DryRun = False,
    json: Json = False,
    config: Config = None,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    debug: Debug = False,
) -> None:
    """Choose language-specific neurons from statistics, by any criterion, in seconds.

    \b
    examples:
      sea lsn-detect select stats.safetensors --method lape -o neurons.safetensors
      sea lsn-detect select th0.safetensors th1.safetensors en.safetensors --method magnitude -o neurons.safetensors
      sea lsn-detect select stats.safetensors --method plnd --top-k 0.1 --min-docs 0.9 -o neurons.safetensors

    Files of several languages go together, and shards of one language add up, if they are of one model and measured
    alike. The report, a record a language, to stdout.
    """
    import dataclasses

    from seatools.lsn_detect.options import parse_core, parse_parts
    from seatools.lsn_detect.outcome import write_outcome
    from seatools.lsn_detect.select import SelectOptions
    from seatools.lsn_detect.select import select as choose
    from seatools.lsn_detect.table import StatsTable, load_stats
    from seatools.streams.inputs import same_file
    from seatools.streams.manifest import Manifest
    from seatools.streams.outputs import check_output
    from seatools.streams.tensors import refuse_compressed

    messages = Messages(quiet, verbose)
    options = SelectOptions(
        method=method.value, parts=None if parts is None else parse_parts(parts), percentile=percentile, share=share,
        top=top, top_k=top_k, threshold=threshold, min_docs=min_docs, core=parse_core(core),
        like=None if like is None else str(like), seed=seed,
    )  # fmt: skip
    if str(output) == "-":
        raise UsageError("-o names a file: the report goes to stdout", fix="-o neurons.safetensors")
    inputs = [*map(str, statistics), *([str(like)] if like is not None else [])]
    refuse_compressed(output)
    check_output(output, force=force, inputs=inputs)
    if plot is not None:
        from seatools.streams.plot_style import check_plot

        check_plot(plot)
        check_output(plot, force=force, inputs=inputs)
        if same_file(output, plot):
            raise UsageError(f"{plot} is both -o and --plot", fix="two names")
    table = load_stats(statistics)
    wanted = None if langs is None else [lang.strip() for lang in langs.split(",") if lang.strip()]
    unknown = [lang for lang in wanted or () if lang not in table.langs]
    if unknown or wanted == []:
        there = ", ".join(table.langs)
        raise UsageError(f"--langs {langs}: no statistics of {', '.join(unknown) or 'any'}", fix=f"there are {there}")
    if wanted is not None:
        table = StatsTable({lang: table.langs[lang] for lang in wanted}, table.places, table.metadata)
    if dry_run:
        for lang, stats in table.langs.items():
            messages.info(f"{lang}: {int(stats.tokens.sum()):,} tokens, {int(stats.docs.sum()):,} documents")
        messages.info(f"would write {output}; nothing is written")
        return
    for stats in table.langs.values():
        for warning in stats.warnings:
            messages.warn(warning)
    manifest = Manifest(command="lsn-detect select", options=dataclasses.asdict(options), seed=seed)
    for path in inputs:
        manifest.add_input(path)
    chosen = choose(table, options)
    write_outcome(output, plot, table, chosen, options, manifest, force=force, json=json, messages=messages)


def main(argv: list[str]) -> int:
    """`sea lsn-detect select ARGV`."""
    return run_app(app, "lsn-detect select", argv)
