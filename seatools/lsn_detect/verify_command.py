"""`sea lsn-detect verify`: a model, a neuron file and texts in; what each language's neurons do for each out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seatools.lsn_detect.flags import BatchTokens, Model, NumProcesses, TokenizerPath
from seatools.streams.errors import CheckFailed, SeaError, UsageError
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
    run_app,
)
from seatools.streams.messages import Messages

if TYPE_CHECKING:
    from seatools.engine.world import World
    from seatools.lsn_detect.verify import VerifyOptions

app = new_app()


@app.command()
def verify(
    context: typer.Context,
    model: Model,
    neurons: Annotated[Path, typer.Argument(metavar="NEURONS", help="a neuron file of sea lsn-detect")],
    data: Annotated[
        list[str] | None,
        typer.Option("--data", metavar="LANG=GLOB", help="text of a language, not that of detection; once for each"),
    ] = None,
    output: Output = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE.png", help="draw the matrix (the plot extra)")
    ] = None,
    langs: Annotated[
        str | None, typer.Option("--langs", metavar="LANG,...", help="languages to switch off [all that have neurons]")
    ] = None,
    random: Annotated[int, typer.Option("--random", metavar="N", help="draws of the control; 0: none")] = 3,
    bootstrap: Annotated[int, typer.Option("--bootstrap", metavar="N", help="resamples of the intervals")] = 1000,
    outputs: Annotated[
        int, typer.Option("--outputs", metavar="N", help="greedy outputs a language of text; 0: none")
    ] = 16,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", metavar="N", help="longest output")] = 32,
    lang_id: Annotated[
        str, typer.Option("--lang-id", metavar="script|cld2|fasttext:FILE|PLUGIN", help="tells the language of outputs")
    ] = "script",
    min_selectivity: Annotated[
        float | None, typer.Option("--min-selectivity", metavar="X", help="exit 3 if a language's is below X")
    ] = None,
    better_than_random: Annotated[
        bool, typer.Option("--better-than-random", help="exit 3 if a language's set does no better than the control")
    ] = False,
    seq_len: Annotated[
        int | None, typer.Option("--seq-len", metavar="N", help="window [default: the model's, <= 2048]")
    ] = None,
    stride: Annotated[
        int | None, typer.Option("--stride", metavar="N", help="new tokens in each further window [default: half]")
    ] = None,
    batch_tokens: BatchTokens = 8192,
    nproc: NumProcesses = None,
    tokenizer: TokenizerPath = None,
    pattern: Pattern = None,
    seed: Seed = 0,
    device: Device = "auto",
    dtype: DType = "auto",
    workers: Workers = 0,
    limit: Limit = None,
    force: Force = False,
    dry_run: DryRun = False,
    json: Json = False,
    on_error: OnError = ErrorPolicy.fail,
    quarantine: Quarantine = None,
    config: Config = None,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    debug: Debug = False,
) -> int:
    """Whether a language's neurons serve that language: each set is switched off, and every language scored.

    \b
    examples:
      sea lsn-detect verify MODEL neurons.safetensors --data th=flores_th.txt --data en=flores_en.txt
      sea lsn-detect verify MODEL neurons.safetensors --data th=th.txt --data en=en.txt -o verify.jsonl --plot m.png
      sea lsn-detect verify MODEL neurons.safetensors --data th=th.txt --data en=en.txt --better-than-random && echo ok

    \b
    own           change of its own language's bits per byte
    others        mean change of the other languages of --data
    selectivity   own / others
    random        the same for as many random neurons per layer and matrix, mean of --random draws

    Intervals of 95 % by bootstrap over texts; on parallel text (line k of every file says the same) the same lines are
    drawn in all languages. A record a pair and a summary a language where stdout is no terminal, with --json or -o.
    """
    from seatools.lsn_detect.verify import VerifyOptions

    options = VerifyOptions(
        langs=None if langs is None else tuple(name.strip() for name in langs.split(",") if name.strip()),
        random=random, bootstrap=bootstrap, outputs=outputs, max_new_tokens=max_new_tokens, lang_id=lang_id,
        seq_len=seq_len, stride=stride, batch_tokens=batch_tokens, min_selectivity=min_selectivity,
        better_than_random=better_than_random, limit=limit, seed=seed, device=device, dtype=dtype,
    )  # fmt: skip
    from seatools.engine.processes import in_processes
    from seatools.lsn_detect.verify_texts import named_files

    def run(world: World) -> None:
        messages = Messages(quiet, verbose, silent=not world.is_main)
        _run(
            model, neurons, data or [], options, output=output, plot=plot, tokenizer_path=tokenizer or model,
            pattern=pattern, workers=workers, force=force, dry_run=dry_run, json=json, on_error=on_error.value,
            quarantine=quarantine, messages=messages, world=world,
        )  # fmt: skip

    inputs = [path for own in named_files(data or []).values() for path in own]
    argv = ["lsn-detect", "verify", *context.obj]
    return in_processes(None if dry_run else nproc, argv, run, inputs=inputs, device=device)


def _run(
    model_path: Path, neuron_path: Path, data: list[str], options: VerifyOptions, *, output: str | None,
    plot: Path | None, tokenizer_path: Path, pattern: str | None, workers: int, force: bool, dry_run: bool, json: bool,
    on_error: str, quarantine: str | None, messages: Messages, world: World,
) -> None:  # fmt: skip
    import sys

    from seatools.engine.load import model_positions, open_model
    from seatools.engine.neuron_layers import find_layers
    from seatools.engine.neurons import check_architecture, load_neurons
    from seatools.engine.text_nats import readings_of
    from seatools.engine.text_windows import chosen_window
    from seatools.lsn_detect.output_language import OutputJudge
    from seatools.lsn_detect.switched_off import chosen_langs, matched_controls, plan_runs
    from seatools.lsn_detect.verify import is_parallel, measure
    from seatools.lsn_detect.verify_report import failed_checks, print_tables, report_records
    from seatools.lsn_detect.verify_texts import (
        half_text_prompts,
        named_files,
        num_bytes_of,
        read_texts,
        warn_of_known_text,
    )
    from seatools.streams.digests import folder_digest
    from seatools.streams.flags import prints_jsonl
    from seatools.streams.inputs import same_file
    from seatools.streams.manifest import Manifest
    from seatools.streams.outputs import check_output, open_output
    from seatools.streams.progress import Progress
    from seatools.streams.quarantine import rejects_policy
    from seatools.streams.records import dump
    from seatools.streams.spool import spooled
    from seatools.text.documents import load_documents
    from seatools.text.own_tokenizer import other_pieces

    named = named_files(data)
    paths = [path for own in named.values() for path in own]
    if options.min_selectivity is not None and len(named) < 2:
        raise UsageError(
            "--min-selectivity compares languages, and there is one --data", fix="another --data LANG=FILE"
        )
    inputs: list[str | Path] = [model_path, neuron_path, *paths]
    check_output(output, force=force, inputs=inputs)
    if plot is not None:
        from seatools.streams.plot_style import check_plot

        check_plot(plot)
        check_output(plot, force=force, inputs=inputs)
        if output is not None and same_file(output, plot):
            raise UsageError(f"{plot} is both -o and --plot", fix="two names")
    judge = OutputJudge(options.lang_id) if options.outputs else None
    window = chosen_window(model_positions(model_path), options.seq_len, options.stride)
    sets, metadata = load_neurons(neuron_path)
    off = chosen_langs(sets, list(named), options.langs, str(neuron_path))
    documents = load_documents(tokenizer_path, pattern=pattern, add_eos=False, note=messages.debug)
    if other := other_pieces(documents.tokenizer, model_path):
        messages.warn(other)
    manifest = Manifest(command="lsn-detect verify", options=options, seed=options.seed)
    with (
        rejects_policy(
            on_error if world.is_main or on_error != "quarantine" else "skip",
            quarantine if world.is_main else None,
            output,
            messages,
            force=force,
            dry_run=dry_run,
        ) as rejects,
        spooled(paths) as (files, stdin_digest),
    ):
        spool = dict(zip(paths, files, strict=True))
        where_read = {lang: [spool[path] for path in own] for lang, own in named.items()}
        warn_of_known_text(where_read, metadata, str(neuron_path), messages)
        texts = {
            lang: read_texts(lang, own, documents, options.limit, rejects, workers, messages)
            for lang, own in where_read.items()
        }
        prompts = half_text_prompts(model_path, texts, documents, judge, options, messages) if judge else None
        parallel = is_parallel(texts)
        active = [lang for lang in off if any(len(neurons.indices) for neurons in sets[lang].values())]
        passes = 1 + len(active) * (1 + options.random)
        what = f"{passes} passes over {sum(map(len, texts.values())):,} texts of {len(texts)} languages"
        messages.debug(f"{what}; {'parallel' if parallel else 'not parallel'} text")
        if dry_run:
            messages.info(f"{what}: would write to {output or 'stdout'}; nothing is written")
            return
        loaded = open_model(
            model_path, device=options.device if world.size == 1 else str(world.device), dtype=options.dtype,
            vocab_size=documents.tokenizer.vocab_size,
        )  # fmt: skip
        try:
            check_architecture(metadata, loaded)
        except SeaError as error:
            raise SeaError(error.what, where=str(neuron_path), fix=error.fix) from error
        digest = folder_digest(model_path)
        if metadata.get("model_digest") not in (None, digest):
            messages.warn(f"{neuron_path}: its neurons were found in other weights than those of {model_path}")
        counts, controls = matched_controls(
            find_layers(loaded).all_places(), sets, off, number=options.random, seed=options.seed
        )
        runs = plan_runs(sets, off, controls)
        readings = readings_of(
            [text.ids for own in texts.values() for text in own],
            context_id=documents.tokenizer.context_id, window=window[0], stride=window[1],
        )  # fmt: skip
        total = passes * (len(readings.documents) + (prompts.size if prompts else 0))
        with Progress("verifying", total, "readings", messages.quiet or not world.is_main) as progress:
            measured = measure(
                loaded, runs, texts, readings, documents.tokenizer, batch_tokens=options.batch_tokens,
                prompts=prompts, advance=lambda count: progress.advance(count * world.size), world=world,
            )  # fmt: skip
        if not world.is_main:
            return
        made = {
            "parallel": parallel, "draws": options.random, "resamples": options.bootstrap, "seed": options.seed,
            "seq_len": window[0], "stride": window[1], "lang_id": options.lang_id if judge else None,
            "dtype": str(loaded.dtype).removeprefix("torch."), "model": str(model_path), "model_digest": digest[:16],
            "tokenizer_digest": documents.tokenizer.digest()[:16], "method": metadata.get("method"),
        }  # fmt: skip
        records = report_records(
            measured, runs, num_bytes_of(texts), neurons=counts, parallel=parallel, resamples=options.bootstrap,
            seed=options.seed, judge=judge, made=made,
        )  # fmt: skip
        to_file = output not in (None, "-")
        if to_file or prints_jsonl(json):
            with open_output(output, force=force, inputs=inputs) as stream:
                stream.write(b"".join(dump(row) + b"\n" for row in records))
        if not prints_jsonl(json):
            print_tables(records, sys.stdout)
        if plot is not None:
            from seatools.lsn_detect.matrix_plot import draw_matrix
            from seatools.streams.plot_style import kind_of

            with open_output(plot, force=force, inputs=inputs, binary=True) as stream:
                draw_matrix(records, stream, kind_of(plot))
        manifest.rejects = rejects.counts
        manifest.counts = {
            "passes": passes, "texts": {lang: len(own) for lang, own in texts.items()}, "neurons": counts,
        }  # fmt: skip
        if to_file:
            manifest.add_input(model_path, digest)
            manifest.add_input(neuron_path)
            manifest.add_inputs(paths, stdin_digest)
            manifest.write(output)
    for row in records:
        for warning in row.get("warnings", ()):
            messages.warn(warning)
    failed = failed_checks(
        records, min_selectivity=options.min_selectivity, better_than_random=options.better_than_random
    )
    if failed:
        raise CheckFailed("; ".join(failed), where=str(neuron_path))


def main(argv: list[str]) -> int:
    """`sea lsn-detect verify ARGV`."""
    return run_app(app, "lsn-detect verify", argv)
