"""`sea lsn-detect stats`: flags in, a pass over each language, a statistics file out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from seatools.lsn_detect.flags import (
    QK,
    BatchTokens,
    CheckEvery,
    ExactNorm,
    Lang,
    MaxTokens,
    MinDocTokens,
    Model,
    NumProcesses,
    Parts,
    SeqLen,
    StopJaccard,
    TokenizerPath,
)
from seatools.lsn_detect.options import TOP_K, StatsOptions, parse_parts
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
    Verbose,
    Workers,
    new_app,
    run_app,
)
from seatools.streams.messages import Messages
from seatools.streams.shards import parse_shard
from seatools.streams.sizes import parse_count

if TYPE_CHECKING:
    from seatools.engine.world import World
    from seatools.lsn_detect.run import Request

app = new_app()
_D = StatsOptions()


@app.command()
def stats(
    context: typer.Context,
    model: Model,
    lang: Lang = None,
    output: OutputPath = ...,  # type: ignore[assignment]
    parts: Parts = None,
    top_k: Annotated[
        list[float] | None,
        typer.Option(
            "--top-k", metavar="SHARE", help="a share for plnd --min-docs below 1; repeatable [1, 2, 5, 10, 20 %]"
        ),
    ] = None,
    threshold: Annotated[
        list[float] | None,
        typer.Option("--threshold", metavar="EPS", help="an importance for plnd --min-docs below 1; repeatable"),
    ] = None,
    taylor: Annotated[bool, typer.Option("--taylor", help="the loss-aware score too: costs a backward pass")] = False,
    seq_len: SeqLen = None,
    max_tokens: MaxTokens = "1M",
    min_doc_tokens: MinDocTokens = _D.min_doc_tokens,
    qk: QK = _D.qk,
    exact_norm: ExactNorm = False,
    stop_jaccard: StopJaccard = None,
    check_every: CheckEvery = "100k",
    shard: Annotated[
        str | None, typer.Option("--shard", metavar="I/N", help="every Nth pair of documents from I = 0")
    ] = None,
    batch_tokens: BatchTokens = _D.batch_tokens,
    nproc: NumProcesses = None,
    tokenizer: TokenizerPath = None,
    pattern: Pattern = None,
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
    """Measure every neuron on texts, in one pass over each language.

    \b
    examples:
      sea lsn-detect stats MODEL --lang th=th.jsonl --lang en=en.jsonl -o stats.safetensors
      sea lsn-detect stats MODEL --lang lo=lo.txt -o lo.safetensors            # a language more, later
      sea lsn-detect stats MODEL --lang th=th.jsonl --shard 0/4 -o th0.safetensors

    Sums per neuron over tokens and documents, in two halves; `sea lsn-detect select FILE...` chooses from them by any
    criterion, and adds shards up. A record a language (tokens, documents) to stdout.
    """
    messages = Messages(quiet, verbose)
    options = StatsOptions(
        parts=_D.parts if parts is None else parse_parts(parts), seq_len=seq_len, max_tokens=parse_count(max_tokens),
        limit=limit, min_doc_tokens=min_doc_tokens, qk=qk, exact_norm=exact_norm, taylor=taylor,
        top_k=tuple(sorted(set(top_k or TOP_K))), thresholds=tuple(sorted(set(threshold or ()))),
        batch_tokens=batch_tokens, stop_jaccard=stop_jaccard, check_every=parse_count(check_every),
        shard=parse_shard(shard), device=device, dtype=dtype,
    )  # fmt: skip
    if not lang:
        raise UsageError("no --lang", fix="--lang th=FILE --lang en=FILE")
    from seatools.engine.processes import in_processes
    from seatools.lsn_detect.command import new_request

    request = new_request(
        model, lang, output, tokenizer=tokenizer, pattern=pattern, workers=workers, on_error=on_error.value,
        quarantine=quarantine, force=force, messages=messages, tensor_files=(output,),
    )  # fmt: skip
    if dry_run:
        for name, paths in request.corpora.items():
            messages.info(f"{name}: {len(paths)} files, at most {options.max_tokens:,} tokens")
        messages.info(f"would write {output}; nothing is written")
        return 0

    def measure(world: World) -> None:
        _stats(request.on(world), options, json=json, world=world)

    argv = ["lsn-detect", "stats", *context.obj]
    return in_processes(nproc, argv, measure, inputs=request.inputs, device=options.device)


def _stats(request: Request, options: StatsOptions, *, json: bool, world: World) -> None:
    import sys

    from seatools.lsn_detect.early_stop import own_agreement
    from seatools.lsn_detect.outcome import read_counts
    from seatools.lsn_detect.run import measured_table
    from seatools.lsn_detect.table import save_stats
    from seatools.streams.flags import prints_jsonl
    from seatools.streams.manifest import Manifest
    from seatools.streams.outputs import open_output
    from seatools.streams.records import dump

    manifest = Manifest(command="lsn-detect stats", options=options, seed=0)
    table = measured_table(request, options, manifest, world=world, agreement=own_agreement)
    if not world.is_main:
        return
    with open_output(request.out, force=request.force, binary=True) as stream:
        save_stats(stream, table)
    reads = read_counts(table)
    manifest.counts = dict(reads)
    manifest.write(request.out)
    if prints_jsonl(json):
        rows = ({"lang": lang, **counts, "parts": list(table.parts)} for lang, counts in reads.items())
        sys.stdout.buffer.write(b"".join(dump(row) + b"\n" for row in rows))
    told = ", ".join(f"{lang} {counts['tokens']:,}" for lang, counts in reads.items())
    request.messages.info(f"{request.out}: tokens measured: {told}")


def main(argv: list[str]) -> int:
    """`sea lsn-detect stats ARGV`."""
    return run_app(app, "lsn-detect stats", argv)
