"""`sea lsn-detect`: flags in, a pass over each language, a neuron file and a report out; and its parts by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seatools.lsn_detect.flags import (
    QK,
    BatchTokens,
    CheckEvery,
    Core,
    ExactNorm,
    Lang,
    Like,
    MaxTokens,
    Method,
    MethodFlag,
    MinDocs,
    MinDocTokens,
    Model,
    NumProcesses,
    Parts,
    Percentile,
    Plot,
    SeqLen,
    Share,
    StopJaccard,
    TokenizerPath,
    Top,
)
from seatools.lsn_detect.options import TOP_K, StatsOptions
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
    OutputPath,
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
from seatools.streams.subcommands import refuse_misspelt

if TYPE_CHECKING:
    from seatools.engine.world import World
    from seatools.lsn_detect.run import Request
    from seatools.lsn_detect.select import SelectOptions
    from seatools.lsn_detect.table import StatsTable

app = new_app()
_D = StatsOptions()
SUBCOMMANDS = {
    "stats": "seatools.lsn_detect.stats_command",
    "select": "seatools.lsn_detect.select_command",
    "verify": "seatools.lsn_detect.verify_command",
    "show": "seatools.lsn_detect.show_command",
}


@app.command()
def lsn_detect(
    context: typer.Context,
    model: Model,
    lang: Lang = None,
    method: MethodFlag = Method.lape,
    output: OutputPath = ...,  # type: ignore[assignment]
    plot: Plot = None,
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
    save_stats: Annotated[
        Path | None,
        typer.Option("--save-stats", metavar="FILE", help="keep the statistics for `sea lsn-detect select`"),
    ] = None,
    seq_len: SeqLen = None,
    max_tokens: MaxTokens = "1M",
    min_doc_tokens: MinDocTokens = _D.min_doc_tokens,
    qk: QK = _D.qk,
    exact_norm: ExactNorm = False,
    stop_jaccard: StopJaccard = None,
    check_every: CheckEvery = "100k",
    batch_tokens: BatchTokens = _D.batch_tokens,
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
    """Find language-specific neurons, of any decoder, in one pass over each language.

    \b
    examples:
      sea lsn-detect MODEL --lang th=th.jsonl --lang en=en.jsonl --method lape -o neurons.safetensors
      sea lsn-detect MODEL --method random --like neurons.safetensors -o random.safetensors
      sea lsn-detect stats MODEL --lang th=th.jsonl -o th.stats    # statistics now, languages added later
      sea lsn-detect select th.stats en.stats --method magnitude --top 2000 -o neurons.safetensors
      sea lsn-detect verify MODEL neurons.safetensors --data th=flores_th.txt --data en=flores_en.txt
      sea lsn-detect show neurons.safetensors                      # what a file holds

    \b
    lape       FFN neurons that are active in few languages (arXiv 2402.16438)
    plnd       rows and columns of FFN and attention that matter in every document (arXiv 2402.18815)
    magnitude  importance times the language's share of it, over all languages
    taylor     the same of |activation x gradient of the loss|
    random     the control: as many per layer and matrix as in --like

    The file goes into `sea train --neurons` and `sea eval --deactivate`; the report, a record a language, to stdout.
    """
    from seatools.engine.neurons import load_neurons
    from seatools.lsn_detect.options import parse_core, parse_parts
    from seatools.lsn_detect.select import SelectOptions, measured_parts
    from seatools.streams.sizes import parse_count

    messages = Messages(quiet, verbose)
    choice = SelectOptions(
        method=method.value, parts=None if parts is None else parse_parts(parts), percentile=percentile, share=share,
        top=top, top_k=top_k, threshold=threshold, min_docs=min_docs, core=parse_core(core),
        like=None if like is None else str(like), seed=seed,
    )  # fmt: skip
    options = StatsOptions(
        parts=measured_parts(choice), seq_len=seq_len, max_tokens=parse_count(max_tokens), limit=limit,
        min_doc_tokens=min_doc_tokens, qk=qk, exact_norm=exact_norm, taylor=method is Method.taylor,
        top_k=TOP_K if top_k is None else tuple(sorted({*TOP_K, top_k})),
        thresholds=() if threshold is None else (threshold,), batch_tokens=batch_tokens, stop_jaccard=stop_jaccard,
        check_every=parse_count(check_every), device=device, dtype=dtype,
    )  # fmt: skip
    if method is Method.random:
        if lang or save_stats is not None:
            raise UsageError("--method random takes its languages from --like", fix="leave out --lang, --save-stats")
    elif not lang:
        raise UsageError("no --lang", fix="--lang th=FILE --lang en=FILE")
    elif len({text.partition("=")[0] for text in lang}) < 2 and method is not Method.plnd:
        raise UsageError(
            f"{method.value} compares languages and needs two at least", fix="another --lang, or --method plnd"
        )
    if plot is not None:
        from seatools.streams.plot_style import check_plot

        check_plot(plot)
    request = new_request(
        model, lang or [], output, tokenizer=tokenizer, pattern=pattern, workers=workers, on_error=on_error.value,
        quarantine=quarantine, force=force, messages=messages,
        outputs=(plot, save_stats), tensor_files=(output, save_stats), inputs=() if like is None else (str(like),),
    )  # fmt: skip
    if like is not None:
        load_neurons(like)  # damage is found before the model is opened
    if dry_run:
        for name, paths in request.corpora.items():
            messages.info(f"{name}: {len(paths)} files, at most {options.max_tokens:,} tokens by {method.value}")
        messages.info(f"would write {output}; nothing is written")
        return 0

    from seatools.engine.processes import in_processes

    def detect(world: World) -> None:
        _detect(request.on(world), options, choice, plot, save_stats, json=json, world=world)

    return in_processes(nproc, ["lsn-detect", *context.obj], detect, inputs=request.inputs, device=options.device)


def new_request(
    model: Path, lang: list[str], out: Path, *, tokenizer: Path | None, pattern: str | None, workers: int,
    on_error: str, quarantine: str | None, force: bool, messages: Messages, outputs: tuple[Path | None, ...] = (),
    tensor_files: tuple[Path | None, ...] = (), inputs: tuple[str, ...] = (),
) -> Request:  # fmt: skip
    """The request of a command line, its outputs checked before any work."""
    from seatools.engine.load import check_folder
    from seatools.lsn_detect.corpora import parse_corpora
    from seatools.lsn_detect.run import Request
    from seatools.streams.outputs import check_output
    from seatools.streams.tensors import refuse_compressed

    if str(out) == "-":
        raise UsageError("-o names a file: the report goes to stdout", fix="-o neurons.safetensors")
    check_folder(model)
    corpora = parse_corpora(lang)
    for path in (out, *filter(None, outputs)):
        check_output(path, force=force, inputs=[path for paths in corpora.values() for path in paths] + list(inputs))
        if path.resolve().is_relative_to(model.resolve()):
            raise UsageError(f"{path} lies inside the model's folder", fix="write to another folder")
    for file in filter(None, tensor_files):
        refuse_compressed(file)
    every = [path.resolve() for path in (out, *filter(None, outputs))]
    if len(set(every)) < len(every):
        raise UsageError("two outputs have one name")
    return Request(
        model=model, corpora=corpora, out=out, tokenizer=tokenizer or model, pattern=pattern, workers=workers,
        on_error=on_error, quarantine=quarantine, force=force, messages=messages,
    )  # fmt: skip


def _detect(
    request: Request, options: StatsOptions, choice: SelectOptions, plot: Path | None, save_stats: Path | None, *,
    json: bool, world: World,
) -> None:  # fmt: skip
    """Measure, choose and write; without text (random) the model's layout is all that is needed."""
    import dataclasses

    from seatools.lsn_detect.early_stop import agreement
    from seatools.lsn_detect.outcome import write_outcome
    from seatools.lsn_detect.run import bare_table, measured_table
    from seatools.lsn_detect.select import select
    from seatools.streams.manifest import Manifest

    def fitted(table: StatsTable) -> SelectOptions:  # a model may have no shared expert
        if choice.parts is None:
            return choice
        return dataclasses.replace(choice, parts=tuple(part for part in choice.parts if part in table.parts))

    written = {"statistics": dataclasses.asdict(options), "selection": dataclasses.asdict(choice)}
    manifest = Manifest(command="lsn-detect", options=written, seed=choice.seed)
    if request.corpora:
        table = measured_table(
            request, options, manifest, world=world, agreement=lambda halves: agreement(halves, fitted(halves))
        )
    else:
        table = bare_table(request, manifest)
        manifest.add_input(str(choice.like))
    if not world.is_main:
        return
    if save_stats is not None:
        from seatools.lsn_detect.table import save_stats as save
        from seatools.streams.outputs import open_output

        with open_output(save_stats, force=request.force, binary=True) as stream:
            save(stream, table)
    final = fitted(table) if request.corpora else choice
    chosen = select(table, final)
    write_outcome(
        request.out, plot, table, chosen, final, manifest, force=request.force, json=json, messages=request.messages
    )


def main(argv: list[str]) -> int:
    """`sea lsn-detect ARGV`, or one of its parts."""
    if argv and argv[0] in SUBCOMMANDS:
        import importlib

        return int(importlib.import_module(SUBCOMMANDS[argv[0]]).main(argv[1:]))
    refuse_misspelt("lsn-detect", argv, SUBCOMMANDS)
    return run_app(app, "lsn-detect", argv)
