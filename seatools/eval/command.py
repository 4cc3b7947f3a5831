"""`sea eval`: a model and data in, score records out."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from seatools.streams.errors import UsageError
from seatools.streams.flags import (
    Config,
    Debug,
    Device,
    DryRun,
    DType,
    ErrorPolicy,
    Force,
    Json,
    Limit,
    OnError,
    Output,
    Pattern,
    Quarantine,
    Quiet,
    Seed,
    Verbose,
    Workers,
    new_app,
    prints_jsonl,
    run_app,
)
from seatools.streams.messages import Messages

app = new_app()


@app.command(name="eval")
def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="a Hugging Face model folder")],
    tasks: Annotated[
        list[str],
        typer.Argument(metavar="TASK...", help="perplexity, choice, xcopa, belebele, mmlu, sib200, translation (chrf)"),
    ],
    data: Annotated[
        list[str] | None, typer.Option("--data", metavar="[LANG=]FILE", help="records or .txt lines; repeatable")
    ] = None,
    output: Output = None,
    json: Json = False,
    row_format: Annotated[
        str, typer.Option("--format", metavar="auto|xcopa|belebele|mmlu|sib200|choice", help="rows of the task choice")
    ] = "auto",
    shots: Annotated[int, typer.Option("--shots", metavar="K", help="solved examples before each question")] = 0,
    shots_data: Annotated[
        list[str] | None, typer.Option("--shots-data", metavar="LANG=FILE", help="whose first K records these are")
    ] = None,
    deactivate: Annotated[
        list[str] | None,
        typer.Option("--deactivate", metavar="NEURONS:LANG", help="score again without these neurons; repeatable"),
    ] = None,
    seq_len: Annotated[
        int | None, typer.Option("--seq-len", metavar="N", help="perplexity window [default: the model's, <= 2048]")
    ] = None,
    stride: Annotated[
        int | None, typer.Option("--stride", metavar="N", help="new tokens in each further window [default: half]")
    ] = None,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", help="longest translation")] = 256,
    batch_tokens: Annotated[int, typer.Option("--batch-tokens", help="tokens in a batch")] = 8192,
    chat_template: Annotated[str | None, typer.Option("--chat-template", metavar="FILE", help="Jinja file")] = None,
    pattern: Pattern = None,
    seed: Seed = 0,
    device: Device = "auto",
    dtype: DType = "auto",
    workers: Workers = 0,
    limit: Limit = None,
    force: Force = False,
    dry_run: DryRun = False,
    on_error: OnError = ErrorPolicy.fail,
    quarantine: Quarantine = None,
    config: Config = None,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    debug: Debug = False,
) -> None:
    """How good the adapted model is: bits per byte, multiple choice, translation.

    \b
    examples:
      sea eval MODEL perplexity --data th=flores_th.txt --data en=flores_en.txt --json | jq .value
      sea eval MODEL xcopa --data th=xcopa_th.jsonl --deactivate neurons.safetensors:th -o scores.jsonl

    A record a line ({"task","lang","metric","value","stderr","n","model","config"}) where stdout is no terminal or
    with --json; a table on a terminal. Bits per byte may be compared across tokenizers, not across languages.
    """
    from pathlib import Path

    from seatools.engine.load import model_positions, open_model
    from seatools.eval.deactivation import read_passes
    from seatools.eval.row_formats import FORMATS
    from seatools.eval.setup import Options, Setup
    from seatools.eval.sources import all_paths, name_sources, read_sources
    from seatools.eval.table import print_table
    from seatools.eval.tasks import assign, pick_tasks
    from seatools.streams.digests import folder_digest
    from seatools.streams.manifest import Manifest
    from seatools.streams.outputs import check_output, open_output
    from seatools.streams.progress import Progress
    from seatools.streams.quarantine import rejects_policy
    from seatools.streams.records import dump
    from seatools.streams.spool import spooled
    from seatools.text.documents import load_documents

    messages = Messages(quiet, verbose)
    chosen = pick_tasks(tasks)
    if not data:
        raise UsageError("no data to score", fix=f"--data LANG=FILE of records with {chosen[0].needs}")
    if row_format not in ("auto", *FORMATS):
        raise UsageError(f'no format "{row_format}"', fix=f"one of auto, {', '.join(FORMATS)}")
    if row_format != "auto" and "choice" not in tasks:
        raise UsageError("--format is for the task choice; the other tasks have one format each")
    if (shots > 0) != bool(shots_data):
        raise UsageError("--shots and --shots-data go together", fix="--shots K --shots-data LANG=FILE")
    if shots > 0 and not any(task.takes_shots for task in chosen):
        raise UsageError(f"no shots in the task {chosen[0].name}")
    options = Options(
        seq_len=seq_len, stride=stride, shots=shots, max_new_tokens=max_new_tokens, batch_tokens=batch_tokens,
        format=row_format, seed=seed,
    )  # fmt: skip
    named, named_shots = name_sources(data), name_sources(shots_data or [])
    paths = all_paths([*named, *named_shots])
    check_output(output, force=force, inputs=[model, *paths])
    folder = Path(model)
    documents = load_documents(folder, pattern=pattern, chat_template=chat_template, add_eos=False, note=messages.debug)
    tokenizer = documents.tokenizer
    manifest = Manifest(
        command="eval", options={"tasks": tasks, "deactivate": deactivate or [], **vars(options)}, seed=seed
    )
    with (
        rejects_policy(on_error.value, quarantine, output, messages, force=force, dry_run=dry_run) as rejects,
        spooled(paths) as (files, stdin_digest),
    ):
        where_read = dict(zip(paths, files, strict=True))
        sources = read_sources(named, where_read, rejects=rejects, limit=limit)
        solved = read_sources(named_shots, where_read, rejects=rejects, limit=None)
        given = assign(chosen, sources)
        setup = Setup(folder, tokenizer, documents, model_positions(folder), options, messages, rejects, workers)
        prepared = [(task.name, task.prepare(given[task.name], solved, setup)) for task in chosen]
        passes = read_passes(deactivate or [], messages)
        if dry_run:
            for name, item in prepared:
                times = f", {len(passes)} times" if len(passes) > 1 else ""
                messages.info(f"{name}: {item.size:,} readings of the model{times}")
            messages.info(f"would write scores to {output or 'stdout'}; nothing is written")
            return
        loaded = open_model(folder, device=device, dtype=dtype, vocab_size=tokenizer.vocab_size)
        for run in passes:
            run.check(loaded)
        digest = folder_digest(folder)
        common: dict[str, Any] = {"model_digest": digest[:16], "tokenizer_digest": tokenizer.digest()[:16]}
        common["dtype"] = str(loaded.dtype).removeprefix("torch.")
        if limit is not None:
            common["limit"] = limit
        rows = []
        with Progress("scoring", len(passes) * sum(item.size for _, item in prepared), "readings", quiet) as progress:
            for run in passes:
                off = {"deactivate": run.argument} if run.argument else {}
                with run.applied(loaded):
                    for name, item in prepared:
                        for score in item.score(loaded, progress.advance):
                            rows.append(
                                {
                                    "task": name, "lang": score.lang, "metric": score.metric, "value": score.value,
                                    "stderr": score.stderr, "n": score.n, "model": model,
                                    "config": common | score.config | off,
                                }
                            )  # fmt: skip
        to_file = output not in (None, "-")
        if to_file or prints_jsonl(json):
            with open_output(output, force=force, inputs=paths) as stream:
                for row in rows:
                    stream.write(dump(row) + b"\n")
        if not prints_jsonl(json):
            print_table(rows)
        manifest.rejects = rejects.counts
        manifest.counts = {"scores": len(rows)}
        if to_file:
            manifest.add_input(folder, digest)
            manifest.add_inputs(paths, stdin_digest)
            for run in passes[1:]:
                manifest.add_input(str(run.argument).rpartition(":")[0])
            manifest.write(output)


def main(argv: list[str]) -> int:
    """`sea eval ARGV`."""
    return run_app(app, "eval", argv)
