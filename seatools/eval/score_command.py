"""`sea eval score samples.jsonl`: the scores once more, without the model."""

from __future__ import annotations

from typing import Annotated

import typer

from seatools.streams.errors import SeaError
from seatools.streams.flags import Debug, Force, Json, Output, Quiet, Seed, Verbose, new_app, prints_jsonl, run_app
from seatools.streams.messages import Messages

app = new_app()


@app.command(name="score")
def score_samples(
    samples: Annotated[list[str], typer.Argument(metavar="SAMPLES...", help="samples files of sea eval (- is stdin)")],
    output: Output = None,
    json: Json = False,
    harness: Annotated[
        str | None,
        typer.Option("--harness", metavar="DIR", help="also as lm-evaluation-harness' results files, in a new folder"),
    ] = None,
    resamples: Annotated[int, typer.Option("--resamples", min=100, metavar="N", help="of the bootstrap")] = 1000,
    seed: Seed = 0,
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    debug: Debug = False,
) -> None:
    """Scores of recorded answers: no model is loaded, and the same samples give the same bytes in any order.

    \b
    examples:
      sea eval score samples.jsonl
      sea eval score 'shard-*.jsonl' -o results.json --harness leaderboard/

    A name that ends in .json gets one JSON array, any other a record a line.
    """
    import math

    from seatools.eval.harness_layout import harness_files
    from seatools.eval.results import as_json, as_jsonl, collect, scores
    from seatools.eval.samples import SampleReader
    from seatools.eval.table import print_table
    from seatools.streams.inputs import bare_suffix, expand
    from seatools.streams.manifest import Manifest
    from seatools.streams.outputs import check_output, open_output, output_folder

    messages = Messages(quiet, verbose)
    paths = expand(samples)
    check_output(output, force=force, inputs=paths)
    check_output(harness, force=force, inputs=paths)
    reader = SampleReader(paths)
    groups = collect(reader)
    for warning in reader.warnings():
        messages.warn(warning)
    if not groups:
        raise SeaError("no samples", where=paths[0])
    records = scores(groups, seed=seed, resamples=resamples)
    to_file = output not in (None, "-")
    if to_file or prints_jsonl(json):
        array = to_file and bare_suffix(str(output)) == ".json"
        with open_output(output, force=force, inputs=paths) as stream:
            stream.write(as_json(records) if array else as_jsonl(records))
    if not prints_jsonl(json):
        print_table([row if row["value"] is not None else row | {"value": math.nan} for row in records])
    if harness is not None:
        with output_folder(harness, force=force, inputs=paths) as folder:
            for name, body in harness_files(records).items():
                (folder / name).parent.mkdir(exist_ok=True)
                (folder / name).write_bytes(body)
    manifest = Manifest("eval score", options={"resamples": resamples}, seed=seed)
    manifest.counts = {"samples": sum(len(group.items) for group in groups), "scores": len(records)}
    if to_file or harness is not None:
        manifest.add_inputs(paths)
        manifest.write(output, harness)


def main(argv: list[str]) -> int:
    """`sea eval ARGV` for an ARGV that begins with "score"."""
    return run_app(app, "eval score", argv[1:])
